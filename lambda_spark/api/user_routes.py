"""/v1/users: who there is, the brands a user met lately, and what is recommended."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from lambda_spark.api import models, problems
from lambda_spark.api.json_response import render
from lambda_spark.api.keeper import Keeper
from lambda_spark.api.parameters import AsOf, End, Start, UserId, check_names
from lambda_spark.api.questions import Span, answered, known, past_moment, resolve
from lambda_spark.api.quick_route import QuickRoute
from lambda_spark.api.reach import reach
from lambda_spark.api.user_answers import (
    brand_rows,
    past_brands,
    recommendation_rows,
    require_brands,
    window_name,
)
from lambda_spark.api.user_lists import Seen
from lambda_spark.api.windows import Window
from lambda_spark.time_ranges import instant

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
    keeper: Keeper = request.app.state.keeper
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
    keeper: Keeper = request.app.state.keeper
    known(keeper)
    moment = past_moment(keeper, as_of)
    rows = brand_rows(require_brands(await _brands(keeper, user_id, moment), user_id))
    return render({"user_id": str(user_id), "as_of": moment, "brands": rows, **reach(request.app, ())})


@router.get("", response_model=models.Users)
async def users(
    request: Request, limit: Annotated[int, Query(ge=1, le=MOST_USERS, description="How many at most.")] = 20
) -> Response:
    """Users to pick from: those first whom the speed layer has told of last."""
    keeper: Keeper = request.app.state.keeper
    known(keeper)
    found = ((user_id, keeper.users.find(user_id)) for user_id in keeper.users.recent_users(limit))
    rows = [
        {"user_id": str(user_id), "brand_count": len(brands), "last_seen_at": instant(brands[0][1])}
        for user_id, brands in found
        if brands
    ]
    return render({"users": rows, **reach(request.app, ())})


async def _window(keeper: Keeper, span: Span) -> tuple[Window, tuple[str, ...]]:
    """Return the window: the default one is at hand."""
    if span == Span() and keeper.default is not None:
        return keeper.default, keeper.default_notes

    def prepare() -> tuple[Window, tuple[str, ...]]:
        now = known(keeper)
        asked, notes = resolve(keeper, now, span)
        return keeper.windows.window(now, asked), notes

    return await answered(keeper, prepare)


async def _brands(keeper: Keeper, user_id: int, as_of: datetime | None) -> list[Seen] | None:
    """Return the brands of a user: the present ones are at hand."""
    if as_of is None:
        return keeper.users.find(user_id)
    return await answered(keeper, lambda: past_brands(keeper, user_id, as_of))
