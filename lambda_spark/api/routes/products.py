"""What is answered of products: which trend in a window, and the buckets of one of them.

/v1/trends and /v1/products: what trends in any window, and the buckets of one product.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Depends, Query, Request, Response

from lambda_spark.api import models, problems
from lambda_spark.api.parameters import (
    Bucket,
    End,
    ProductId,
    Span,
    Start,
    check_names,
    require_known,
    resolve,
    run_with_deadline,
)
from lambda_spark.api.problems import render
from lambda_spark.api.routes.status import reach
from lambda_spark.api.routes.users import window_name
from lambda_spark.api.view_cache import ViewCache
from lambda_spark.api.windows import Known, WindowQuery
from lambda_spark.batch.bucket_counts import CountSpans, bucket_counts, count_here, shop_counts
from lambda_spark.errors import UnknownProductError
from lambda_spark.schemas import COUNT_COLUMNS
from lambda_spark.settings import RankBy
from lambda_spark.time_ranges import DAY, TimeRange, end_of, parse_bucket, start_of
from lambda_spark.trends.score import trends_of
from lambda_spark.trends.windows import window_counts

_TOLD = (
    *("rank", "brand", "category_code", "event_count", "user_count", "total_pct_increase", "is_new", "trend_score"),
    *("growth_pct", "z", "confidence"),
)

_COUNTS = (*COUNT_COLUMNS.values(), "event_count", "user_count")
_NEWEST = ("brand", "category_code", "last_price")


def trend_values(keeper: ViewCache, now: Known, asked: WindowQuery, top: int, rank_by: str) -> dict[str, Any]:
    """Return the trends of a window by a ranking rule, and what the whole shop had in each bucket."""
    counts = keeper.windows.counts(now, asked)
    rule = keeper.settings.trends.model_copy(update={"top": top, "rank_by": rank_by})
    rows = trends_of(counts, rule, [asked.range], asked.bucket).to_pylist()
    return {
        "rank_by": rank_by,
        "bucket_starts": bucket_starts(asked),
        "shop": _shop_events(counts, asked),
        "trends": [_trend(row) for row in rows],
    }


def product_values(keeper: ViewCache, now: Known, asked: WindowQuery, product_id: int) -> dict[str, Any]:
    """Return what happened to a product in each bucket of a window. Raises UnknownProductError."""
    rows = _product_rows(keeper, now, asked, product_id)
    if not rows:
        raise UnknownProductError(f"No event of {asked.range} names product {product_id}: choose another range.")
    by_start = {row["bucket_at"]: row for row in rows}
    newest_first = [by_start[start] for start in sorted(by_start, reverse=True)]
    nothing = dict.fromkeys(_COUNTS, 0)
    starts = bucket_starts(asked)
    return {
        "product_id": str(product_id),
        **{name: next((row[name] for row in newest_first if row[name] is not None), None) for name in _NEWEST},
        "bucket_starts": starts,
        "shop": shop_counts(now.counts, asked.range, parse_bucket(asked.bucket)),
        "buckets": [{name: by_start.get(start, nothing)[name] for name in _COUNTS} for start in starts],
    }


def bucket_starts(asked: WindowQuery) -> list[datetime]:
    """Return the start of each bucket."""
    size = parse_bucket(asked.bucket)
    return [asked.range.start + number * size for number in range((asked.range.end - asked.range.start) // size)]


def _shop_events(counts: pa.Table, asked: WindowQuery) -> list[float]:
    """Return the events of the whole shop in each bucket."""
    window = window_counts(counts, asked.range, parse_bucket(asked.bucket))
    return list(window.summed_by_bucket(window.column("event_count")).tolist())


def _trend(row: Mapping[str, Any]) -> dict[str, Any]:
    buckets = [bucket["event_count"] for bucket in row["buckets"]]
    return {"product_id": str(row["product_id"]), **{name: row[name] for name in _TOLD}, "buckets": buckets}


def _product_rows(keeper: ViewCache, now: Known, asked: WindowQuery, product_id: int) -> list[dict[str, Any]]:
    """Count one product alone, from the batch view and from what it does not have."""
    view = now.counts.view
    alone = now.counts._replace(view=view.filter(pc.field("product_id") == product_id) if view is not None else None)
    columns = ("product_id", *_NEWEST, *_COUNTS)
    size, root = parse_bucket(asked.bucket), keeper.settings.data_root
    found = bucket_counts(_counter_of(product_id), root, alone, asked.known_range(), size, columns)
    return list(found.to_pylist())


def _counter_of(product_id: int) -> CountSpans:
    return lambda spans: count_here([span._replace(product_id=product_id) for span in spans])


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
    keeper: ViewCache = request.app.state.keeper

    def answer() -> Response:
        now = require_known(keeper)
        asked, notes = resolve(keeper, now, Span(start, end, bucket))
        asked = asked._replace(as_of=None)
        values = trend_values(keeper, now, asked, top, rank_by or keeper.settings.trends.rank_by)
        return render({"window": window_name(asked), **values, **reach(request.app, notes)})

    return await run_with_deadline(keeper, answer)


@router.get("/products/{product_id}", response_model=models.Product)
async def product(
    request: Request, product_id: ProductId, start: Start = None, end: End = None, bucket: Bucket = None
) -> Response:
    """What happened to a product in each bucket of a window: by default of the last 30 days."""
    keeper: ViewCache = request.app.state.keeper

    def answer() -> Response:
        now = require_known(keeper)
        asked, notes = _last_days(now), tuple[str, ...]()
        if (start, end, bucket) != (None, None, None):
            asked, notes = resolve(keeper, now, Span(start, end, bucket))
            asked = asked._replace(as_of=None)
        values = product_values(keeper, now, asked, product_id)
        return render({"window": window_name(asked), **values, **reach(request.app, notes)})

    return await run_with_deadline(keeper, answer)


def _last_days(now: Known) -> WindowQuery:
    end = end_of(now.days[-1].day)
    start = max(start_of(now.days[0].day), end - _DAYS_OF_A_PRODUCT * DAY)
    return WindowQuery(TimeRange(min(start, end - timedelta(days=2)), end), "day")
