"""What is answered of users: their recent brands, and what is recommended to them, with the evidence.

/v1/users: who there is, the brands a user met lately, and what is recommended.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from lambda_spark.api import models, problems
from lambda_spark.api.parameters import (
    AsOf,
    End,
    QuickRoute,
    Span,
    Start,
    UserId,
    check_names,
    past_moment,
    require_known,
    resolve,
    run_with_deadline,
)
from lambda_spark.api.problems import render
from lambda_spark.api.routes.status import reach
from lambda_spark.api.user_index import Seen, lists_of
from lambda_spark.api.view_cache import ViewCache
from lambda_spark.api.windows import Window, WindowQuery
from lambda_spark.batch.tasks import list_of_user
from lambda_spark.delta.file_tasks import EventSlice, slices_before
from lambda_spark.errors import UnknownUserError
from lambda_spark.recommendations.single_user import recommend_to_one
from lambda_spark.report import words
from lambda_spark.time_ranges import instant


def past_brands(keeper: ViewCache, user_id: int, as_of: datetime) -> list[Seen] | None:
    """Compute the recent brands of a user as of a past moment, newest first; None where none was known then."""
    files, brands = require_known(keeper).counts.files, keeper.settings.brands
    found = list_of_user(user_id, slices_before([EventSlice(files)], as_of), brands.limit, brands.event_types)
    return lists_of(found.to_batches(), brands.limit).find(user_id)


def require_brands(brands: list[Seen] | None, user_id: int) -> list[Seen]:
    """Return the brands. Raises UnknownUserError where there are none."""
    if brands is None:
        raise UnknownUserError(
            f"No brand is known that user {user_id} has met: ask for recommendations with fallback=true."
        )
    return brands


def brand_rows(brands: Sequence[Seen]) -> list[dict[str, Any]]:
    """Return the brands as they are answered."""
    return [
        {"position": position, "brand": brand, "last_seen_at": instant(seen_at)}
        for position, (brand, seen_at) in enumerate(brands, start=1)
    ]


def recommendation_rows(
    keeper: ViewCache, window: Window, user_id: int, brands: Sequence[Seen], count: int, fallback: bool
) -> list[dict[str, Any]]:
    """Return what is recommended to a user of these brands, the best first, as it is answered."""
    excluded = window.excluded.of(user_id)
    offers = recommend_to_one(window.shelf, [brand for brand, _ in brands], excluded, count, fallback)
    now = window.asked.as_of or keeper.seen_upto() or window.asked.range.end

    @cache
    def of_brand(position: int | None) -> tuple[dict[str, Any], str]:
        """Return the evidence of the brand at a position, and the same in words: its products share it."""
        if position is None:
            return {"brand_position": None, "brand_last_seen_at": None, "is_fallback": True}, words.FALLBACK
        brand, seen_at = brands[position - 1][0], instant(brands[position - 1][1])
        why = words.brand_reason(brand, seen_at, now, position, len(brands))
        return {"brand_position": position, "brand_last_seen_at": seen_at, "is_fallback": False}, why

    rows = []
    for rank, offer in enumerate(offers, start=1):
        (values, trend), (of_list, why) = window.evidence[offer.place], of_brand(offer.position)
        rows.append({"rank": rank, **values, **of_list, "reason": f"{trend}; {why}"})
    return rows


def window_name(asked: WindowQuery) -> dict[str, Any]:
    """Return the window as it is answered."""
    return {"from": asked.range.start, "to": asked.range.end, "bucket": asked.bucket}


MOST_RECOMMENDED, MOST_USERS = 50, 100

router = APIRouter(
    prefix="/v1/users",
    tags=["users"],
    responses=problems.RESPONSES,
    dependencies=[Depends(check_names)],
    route_class=QuickRoute,
)


# Routes are gone through in this order: what is asked most comes first.


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

    Without a range: trends of the last complete days, for the user as all that is known tells. With one: as of its end,
    or of `as_of`, as jobs/recommend.py answers.
    """
    keeper: ViewCache = request.app.state.keeper
    span = Span(start, end, None, as_of)
    window, notes = await _window(keeper, span)
    rule = window.shelf.rule
    is_filled = rule.fallback if fallback is None else fallback
    brands = await _brands(keeper, user_id, window.asked.as_of)
    brands = brands or [] if is_filled else require_brands(brands, user_id)
    rows = recommendation_rows(keeper, window, user_id, brands, n or rule.per_user, is_filled)
    return render(
        {
            "user_id": str(user_id),
            "window": window_name(window.asked),
            "as_of": window.asked.as_of,
            "recommendations": rows,
            **reach(request.app, notes),
        }
    )


@router.get("/{user_id}/brands", response_model=models.Brands)
async def user_brands(request: Request, user_id: UserId, as_of: AsOf = None) -> Response:
    """The recent brands of a user, newest first."""
    keeper: ViewCache = request.app.state.keeper
    require_known(keeper)
    moment = past_moment(keeper, as_of)
    rows = brand_rows(require_brands(await _brands(keeper, user_id, moment), user_id))
    return render({"user_id": str(user_id), "as_of": moment, "brands": rows, **reach(request.app, ())})


@router.get("", response_model=models.Users)
async def users(
    request: Request, limit: Annotated[int, Query(ge=1, le=MOST_USERS, description="How many at most.")] = 20
) -> Response:
    """Users to pick from: those first whom the speed layer has told of last."""
    keeper: ViewCache = request.app.state.keeper
    require_known(keeper)
    found = ((user_id, keeper.users.find(user_id)) for user_id in keeper.users.recent_users(limit))
    rows = [
        {"user_id": str(user_id), "brand_count": len(brands), "last_seen_at": instant(brands[0][1])}
        for user_id, brands in found
        if brands
    ]
    return render({"users": rows, **reach(request.app, ())})


async def _window(keeper: ViewCache, span: Span) -> tuple[Window, tuple[str, ...]]:
    """Return the window: the default one is at hand."""
    if span == Span() and keeper.default is not None:
        return keeper.default, keeper.default_notes

    def prepare() -> tuple[Window, tuple[str, ...]]:
        now = require_known(keeper)
        asked, notes = resolve(keeper, now, span)
        return keeper.windows.window(now, asked), notes

    return await run_with_deadline(keeper, prepare)


async def _brands(keeper: ViewCache, user_id: int, as_of: datetime | None) -> list[Seen] | None:
    """Return the brands of a user: the present ones are at hand."""
    if as_of is None:
        return keeper.users.find(user_id)
    return await run_with_deadline(keeper, lambda: past_brands(keeper, user_id, as_of))
