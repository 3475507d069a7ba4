"""/v1/users: users with recent brands, a user's recent brands, and a user's recommendations."""

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.routing import APIRoute

from lambda_spark.api import models, problems
from lambda_spark.api.models import render
from lambda_spark.api.parameters import AsOf, End, Start, UserId, check_names
from lambda_spark.api.user_index import SeenBrand, user_lists
from lambda_spark.api.view_cache import ViewCache, run_with_deadline
from lambda_spark.api.windows import Window, WindowParameters, past_moment, plan_window
from lambda_spark.batch.tasks import list_of_user
from lambda_spark.delta.file_tasks import EventSlice, slices_before
from lambda_spark.errors import UnknownUserError
from lambda_spark.recommendations.single_user import recommend_to_one
from lambda_spark.report import words
from lambda_spark.time_ranges import instant

MOST_RECOMMENDED, MOST_USERS = 50, 100

# The largest 64-bit integer has one digit more: ids up to here need no check.
_MOST_DIGITS = 18


class _QuickRoute(APIRoute):
    """A route that skips FastAPI's parsing of parameters if there is no query string and each id is plain digits.

    Parsing would take a third of the time of an answer only to find that each parameter is missing. All path parameters
    must be ids, all query parameters have defaults, and dependencies may only check the query string.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        handle, endpoint = super().get_route_handler(), self.endpoint

        async def answer(request: Request) -> Response:
            ids = request.path_params
            if request.scope["query_string"] or not all(map(_is_plain_id, ids.values())):
                return await handle(request)
            response: Response = await endpoint(request, **{name: int(text) for name, text in ids.items()})
            return response

        return answer


def _is_plain_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


router = APIRouter(
    prefix="/v1/users",
    tags=["users"],
    responses=problems.RESPONSES,
    dependencies=[Depends(check_names)],
    route_class=_QuickRoute,
)


# Routes are matched in this order: the most frequent requests come first.


@router.get("/{user_id}/recommendations", response_model=models.Recommendations)
async def user_recommendations(
    request: Request,
    user_id: UserId,
    start: Start = None,
    end: End = None,
    n: Annotated[int | None, Query(ge=1, le=MOST_RECOMMENDED, description="How many at most.")] = None,
    as_of: AsOf = None,
    fallback: Annotated[bool | None, Query(description="Fill up with trends of other brands.")] = None,
) -> Response:
    """Trending products of the user's recent brands, with the evidence for each.

    Without a range: trends of the last complete days, for the user's brands as they are known now. With a range: as of
    its end, or of `as_of`, as jobs/recommend.py answers.
    """
    views: ViewCache = request.app.state.views
    window, notes = await _window(views, WindowParameters(start, end, None, as_of))
    rule = window.candidates.rule
    has_fallback = rule.fallback if fallback is None else fallback
    brands = await _brands(views, user_id, window.query.as_of)
    brands = brands or [] if has_fallback else _require_brands(brands, user_id)
    rows = recommendation_rows(views, window, user_id, brands, n or rule.per_user, has_fallback)
    return render(
        {
            "user_id": str(user_id),
            "window": window.query.to_json(),
            "as_of": window.query.as_of,
            "recommendations": rows,
            **request.app.state.status.freshness(notes),
        }
    )


@router.get("/{user_id}/brands", response_model=models.Brands)
async def user_brands(request: Request, user_id: UserId, as_of: AsOf = None) -> Response:
    """The recent brands of a user, newest first."""
    views: ViewCache = request.app.state.views
    views.require_snapshot()
    moment = past_moment(as_of, views.seen_upto())
    brands = _require_brands(await _brands(views, user_id, moment), user_id)
    rows = [
        {"position": position, "brand": brand, "last_seen_at": instant(seen_at)}
        for position, (brand, seen_at) in enumerate(brands, start=1)
    ]
    return render({"user_id": str(user_id), "as_of": moment, "brands": rows, **request.app.state.status.freshness()})


@router.get("", response_model=models.Users)
async def users(
    request: Request, limit: Annotated[int, Query(ge=1, le=MOST_USERS, description="How many at most.")] = 20
) -> Response:
    """Users with recent brands, the most recently changed by the speed layer first."""
    views: ViewCache = request.app.state.views
    views.require_snapshot()
    found = ((user_id, views.users.find(user_id)) for user_id in views.users.recent_users(limit))
    rows = [
        {"user_id": str(user_id), "brand_count": len(brands), "last_seen_at": instant(brands[0][1])}
        for user_id, brands in found
        if brands
    ]
    return render({"users": rows, **request.app.state.status.freshness()})


def recommendation_rows(
    views: ViewCache, window: Window, user_id: int, brands: Sequence[SeenBrand], count: int, fallback: bool
) -> list[dict[str, Any]]:
    """Return at most `count` recommendations for a user with these brands, as models.Recommendation, best first."""
    excluded = window.excluded.of(user_id)
    recommended = recommend_to_one(window.candidates, [brand for brand, _ in brands], excluded, count, fallback)
    now = window.query.as_of or views.seen_upto() or window.query.range.end

    @cache
    def brand_evidence(position: int | None) -> tuple[dict[str, Any], str]:
        """Return the evidence of the brand at a position, as fields and in words; its products share it."""
        if position is None:
            return {"brand_position": None, "brand_last_seen_at": None, "is_fallback": True}, words.FALLBACK
        brand, seen_at = brands[position - 1][0], instant(brands[position - 1][1])
        reason = words.brand_reason(brand, seen_at, now, position, len(brands))
        return {"brand_position": position, "brand_last_seen_at": seen_at, "is_fallback": False}, reason

    rows = []
    for rank, candidate in enumerate(recommended, start=1):
        (values, trend), (brand_values, reason) = window.evidence[candidate.place], brand_evidence(candidate.position)
        rows.append({"rank": rank, **values, **brand_values, "reason": f"{trend}; {reason}"})
    return rows


async def _window(views: ViewCache, parameters: WindowParameters) -> tuple[Window, tuple[str, ...]]:
    """Return the window of a request and its notes; the default window is in memory."""
    if parameters == WindowParameters() and views.default_window is not None:
        return views.default_window, views.default_notes

    def compute() -> tuple[Window, tuple[str, ...]]:
        snapshot = views.require_snapshot()
        query, notes = plan_window(views.settings, snapshot, parameters, views.seen_upto())
        return views.windows.window(snapshot, query), notes

    return await run_with_deadline(views, compute)


async def _brands(views: ViewCache, user_id: int, as_of: datetime | None) -> list[SeenBrand] | None:
    """Return the brands of a user, newest first, as of a moment or now; None if there are none."""
    if as_of is None:
        return views.users.find(user_id)
    return await run_with_deadline(views, lambda: _compute_brands(views, user_id, as_of))


def _compute_brands(views: ViewCache, user_id: int, as_of: datetime) -> list[SeenBrand] | None:
    """Compute the brands of a user as of a past moment from the master dataset; None if there are none."""
    files, brands = views.require_snapshot().counts.files, views.settings.brands
    rows = list_of_user(user_id, slices_before([EventSlice(files)], as_of), brands.limit, brands.event_types)
    return user_lists(rows.to_batches(), brands.limit).find(user_id)


def _require_brands(brands: list[SeenBrand] | None, user_id: int) -> list[SeenBrand]:
    """Return the brands. Raises UnknownUserError if there are none."""
    if brands is None:
        raise UnknownUserError(f"No brand is known of user {user_id}: ask for recommendations with fallback=true.")
    return brands
