"""/v1/trends and /v1/products: what trends in any window, and the buckets of one product."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from lambda_spark.api import models, problems
from lambda_spark.api.json_response import render
from lambda_spark.api.keeper import Keeper
from lambda_spark.api.known import Asked, Known
from lambda_spark.api.parameters import Bucket, End, ProductId, Start, check_names
from lambda_spark.api.questions import Span, answered, known, resolve
from lambda_spark.api.reach import reach
from lambda_spark.api.trend_answers import product_values, trend_values
from lambda_spark.api.user_answers import window_name
from lambda_spark.settings import RankBy
from lambda_spark.time_ranges import DAY, TimeRange, end_of, start_of

MOST_TRENDS = 100
_DAYS_OF_A_PRODUCT = 30

router = APIRouter(prefix="/v1", tags=["products"], responses=problems.RESPONSES, dependencies=[Depends(check_names)])


@router.get("/trends", response_model=models.Trends)
async def trends(
    request: Request,
    start: Start = None,
    end: End = None,
    bucket: Bucket = None,
    top: Annotated[int, Query(ge=1, le=MOST_TRENDS, description="How many at most.")] = 20,
    rank_by: Annotated[RankBy | None, Query(description="What the rank goes by.")] = None,
) -> Response:
    """What trends in a window, computed now from all that is known of it."""
    keeper: Keeper = request.app.state.keeper

    def answer() -> Response:
        now = known(keeper)
        asked, notes = resolve(keeper, now, Span(start, end, bucket))
        asked = asked._replace(as_of=None)
        values = trend_values(keeper, now, asked, top, rank_by or keeper.settings.trends.rank_by)
        return render({"window": window_name(asked), **values, **reach(request.app, notes, now)})

    return await answered(keeper, answer)


@router.get("/products/{product_id}", response_model=models.Product)
async def product(
    request: Request, product_id: ProductId, start: Start = None, end: End = None, bucket: Bucket = None
) -> Response:
    """What happened to a product in each bucket of a window: by default of the last 30 days."""
    keeper: Keeper = request.app.state.keeper

    def answer() -> Response:
        now = known(keeper)
        asked, notes = _last_days(now), now.counts.events.notes
        if (start, end, bucket) != (None, None, None):
            asked, notes = resolve(keeper, now, Span(start, end, bucket))
            asked = asked._replace(as_of=None)
        values = product_values(keeper, now, asked, product_id)
        return render({"window": window_name(asked), **values, **reach(request.app, notes, now)})

    return await answered(keeper, answer)


def _last_days(now: Known) -> Asked:
    end = end_of(now.days[-1].day)
    start = max(start_of(now.days[0].day), end - _DAYS_OF_A_PRODUCT * DAY)
    return Asked(TimeRange(min(start, end - timedelta(days=2)), end), "day")
