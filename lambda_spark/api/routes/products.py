"""/v1/trends and /v1/products: the trends of any window, and the counts of one product per bucket."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Depends, Query, Request, Response

from lambda_spark.api import models, problems
from lambda_spark.api.models import render
from lambda_spark.api.parameters import Bucket, End, ProductId, Start, check_names
from lambda_spark.api.view_cache import ViewCache, run_with_deadline
from lambda_spark.api.windows import EventSnapshot, WindowParameters, WindowQuery, plan_window
from lambda_spark.batch.bucket_counts import bucket_counts, count_here, shop_counts
from lambda_spark.batch.tasks import Span
from lambda_spark.errors import UnknownProductError
from lambda_spark.schemas import COUNT_COLUMNS
from lambda_spark.settings import RankBy
from lambda_spark.time_ranges import DAY, TimeRange, end_of, parse_bucket, start_of
from lambda_spark.trends.score import trends_of
from lambda_spark.trends.windows import window_counts

MOST_TRENDS = 100
_DAYS_OF_A_PRODUCT = 30

_TREND_FIELDS = (
    *("rank", "brand", "category_code", "event_count", "user_count", "total_pct_increase", "is_new", "trend_score"),
    *("growth_pct", "z", "confidence"),
)

_COUNT_FIELDS = (*COUNT_COLUMNS.values(), "event_count", "user_count")
_NEWEST_FIELDS = ("brand", "category_code", "last_price")


router = APIRouter(prefix="/v1", tags=["products"], responses=problems.RESPONSES, dependencies=[Depends(check_names)])


@router.get("/trends", response_model=models.Trends)
async def trends(
    request: Request,
    start: Start = None,
    end: End = None,
    bucket: Bucket = None,
    top: Annotated[int, Query(ge=1, le=MOST_TRENDS, description="How many at most.")] = 20,
    rank_by: Annotated[RankBy | None, Query(description="The figure to rank by.")] = None,
) -> Response:
    """The trends of a window, computed from everything that is known now."""
    views: ViewCache = request.app.state.views

    def answer() -> Response:
        snapshot = views.require_snapshot()
        query, notes = _plan(views, snapshot, WindowParameters(start, end, bucket))
        values = _trend_values(views, snapshot, query, top, rank_by or views.settings.trends.rank_by)
        return _render(request, query, values, notes)

    return await run_with_deadline(views, answer)


@router.get("/products/{product_id}", response_model=models.Product)
async def product(
    request: Request, product_id: ProductId, start: Start = None, end: End = None, bucket: Bucket = None
) -> Response:
    """The counts of a product in each bucket of a window: by default of the last 30 days."""
    views: ViewCache = request.app.state.views

    def answer() -> Response:
        snapshot, parameters = views.require_snapshot(), WindowParameters(start, end, bucket)
        query, notes = _last_days(snapshot), tuple[str, ...]()
        if parameters != WindowParameters():
            query, notes = _plan(views, snapshot, parameters)
        return _render(request, query, _product_values(views, snapshot, query, product_id), notes)

    return await run_with_deadline(views, answer)


def _plan(
    views: ViewCache, snapshot: EventSnapshot, parameters: WindowParameters
) -> tuple[WindowQuery, tuple[str, ...]]:
    """Return the window of a request and its notes; everything that is known now counts, whenever the range ends."""
    query, notes = plan_window(views.settings, snapshot, parameters, views.seen_upto())
    return query._replace(as_of=None), notes


def _render(request: Request, query: WindowQuery, values: Mapping[str, Any], notes: Sequence[str]) -> Response:
    return render({"window": query.to_json(), **values, **request.app.state.status.freshness(notes)})


def _trend_values(
    views: ViewCache, snapshot: EventSnapshot, query: WindowQuery, top: int, rank_by: RankBy
) -> dict[str, Any]:
    """Return the fields of models.Trends but the window and its freshness."""
    counts = views.windows.counts(snapshot, query)
    rule = views.settings.trends.model_copy(update={"top": top, "rank_by": rank_by})
    rows = trends_of(counts, rule, [query.range], query.bucket).to_pylist()
    return {
        "rank_by": rank_by,
        "bucket_starts": _bucket_starts(query),
        "shop": _shop_events(counts, query),
        "trends": [_trend(row) for row in rows],
    }


def _product_values(views: ViewCache, snapshot: EventSnapshot, query: WindowQuery, product_id: int) -> dict[str, Any]:
    """Return the fields of models.Product but the window and its freshness.

    Raises UnknownProductError if the product has no events in the window.
    """
    rows = _count_product(views, snapshot, query, product_id)
    if not rows:
        raise UnknownProductError(f"No event of {query.range} names product {product_id}: choose another range.")
    by_start = {row["bucket_at"]: row for row in rows}
    newest_first = [by_start[start] for start in sorted(by_start, reverse=True)]
    zeros = dict.fromkeys(_COUNT_FIELDS, 0)
    starts = _bucket_starts(query)
    return {
        "product_id": str(product_id),
        **{name: next((row[name] for row in newest_first if row[name] is not None), None) for name in _NEWEST_FIELDS},
        "bucket_starts": starts,
        "shop": shop_counts(snapshot.counts, query.range, parse_bucket(query.bucket)),
        "buckets": [{name: by_start.get(start, zeros)[name] for name in _COUNT_FIELDS} for start in starts],
    }


def _bucket_starts(query: WindowQuery) -> list[datetime]:
    size = parse_bucket(query.bucket)
    return [query.range.start + number * size for number in range((query.range.end - query.range.start) // size)]


def _shop_events(counts: pa.Table, query: WindowQuery) -> list[float]:
    """Return the number of events of the whole shop per bucket."""
    window = window_counts(counts, query.range, parse_bucket(query.bucket))
    return list(window.summed_by_bucket(window.column("event_count")).tolist())


def _trend(row: Mapping[str, Any]) -> dict[str, Any]:
    buckets = [bucket["event_count"] for bucket in row["buckets"]]
    return {"product_id": str(row["product_id"]), **{name: row[name] for name in _TREND_FIELDS}, "buckets": buckets}


def _count_product(
    views: ViewCache, snapshot: EventSnapshot, query: WindowQuery, product_id: int
) -> list[dict[str, Any]]:
    """Count the events of one product. One row per bucket that has any."""
    view = snapshot.counts.view
    own_view = view.filter(pc.field("product_id") == product_id) if view is not None else None
    columns = ("product_id", *_NEWEST_FIELDS, *_COUNT_FIELDS)
    size, root = parse_bucket(query.bucket), views.settings.data_root

    def count_own(spans: Sequence[Span]) -> pa.Table:
        return count_here([span._replace(product_id=product_id) for span in spans])

    counts = snapshot.counts._replace(view=own_view)
    return list(bucket_counts(count_own, root, counts, query.range_until_as_of(), size, columns).to_pylist())


def _last_days(snapshot: EventSnapshot) -> WindowQuery:
    """Return the default window of a product: the last 30 days with events, at least two."""
    end = end_of(snapshot.days[-1].day)
    start = max(start_of(snapshot.days[0].day), end - _DAYS_OF_A_PRODUCT * DAY)
    return WindowQuery(TimeRange(min(start, end - 2 * DAY), end), "day")
