"""What is answered of products: which trend in a window, and the buckets of one of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark.activity import CountSpans, count_here
from lambda_spark.api.keeper import Keeper
from lambda_spark.api.known import Asked, Known
from lambda_spark.errors import UnknownProductError
from lambda_spark.merged_activity import bucket_counts
from lambda_spark.schemas import COUNT_COLUMNS
from lambda_spark.shop_totals import shop_totals
from lambda_spark.time_ranges import is_midnight, parse_bucket
from lambda_spark.trend_windows import trends_of
from lambda_spark.window_counts import window_counts

_TOLD = (
    *("rank", "brand", "category_code", "event_count", "user_count", "total_pct_increase", "is_new", "trend_score"),
    *("growth_pct", "z", "confidence"),
)
_COUNTS = (*COUNT_COLUMNS.values(), "event_count", "user_count")
_NEWEST = ("brand", "category_code", "last_price")


def trend_values(keeper: Keeper, now: Known, asked: Asked, top: int, rank_by: str) -> dict[str, Any]:
    """Return the trends of a window by a ranking rule, and what the whole shop had in each bucket."""
    counts = keeper.windows.counts(now, asked)
    rule = keeper.settings.trends.model_copy(update={"top": top, "rank_by": rank_by})
    rows = trends_of(counts, rule, [asked.range], asked.bucket).to_pylist()
    return {
        "rank_by": rank_by,
        "bucket_starts": bucket_starts(asked),
        "shop": shop_counts(counts, asked),
        "trends": [_trend(row) for row in rows],
    }


def product_values(keeper: Keeper, now: Known, asked: Asked, product_id: int) -> dict[str, Any]:
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
        "shop": _shop_of(now, asked, starts),
        "buckets": [{name: by_start.get(start, nothing)[name] for name in _COUNTS} for start in starts],
    }


def bucket_starts(asked: Asked) -> list[datetime]:
    """Return the start of each bucket."""
    size = parse_bucket(asked.bucket)
    return [asked.range.start + number * size for number in range((asked.range.end - asked.range.start) // size)]


def shop_counts(counts: pa.Table, asked: Asked) -> list[float]:
    """Return the events of the whole shop in each bucket."""
    window = window_counts(counts, asked.range, parse_bucket(asked.bucket))
    return list(window.summed_by_bucket(window.column("event_count")).tolist())


def _shop_of(now: Known, asked: Asked, starts: list[datetime]) -> list[int]:
    """Return the same without the counts of all products: of whole days the log has them."""
    if asked.bucket == "day" and is_midnight(asked.range.start):
        return [now.per_day.get(start.date(), 0) for start in starts]
    return shop_totals(now.counts.events, asked.range, parse_bucket(asked.bucket))


def _trend(row: Mapping[str, Any]) -> dict[str, Any]:
    buckets = [bucket["event_count"] for bucket in row["buckets"]]
    return {"product_id": str(row["product_id"]), **{name: row[name] for name in _TOLD}, "buckets": buckets}


def _product_rows(keeper: Keeper, now: Known, asked: Asked, product_id: int) -> list[dict[str, Any]]:
    """Count one product alone, from the batch view and from what it does not have."""
    view = now.counts.view
    alone = now.counts._replace(view=view.filter(pc.field("product_id") == product_id) if view is not None else None)
    columns = ("product_id", *_NEWEST, *_COUNTS)
    size, root = parse_bucket(asked.bucket), keeper.settings.data_root
    found = bucket_counts(_counter_of(product_id), root, alone, asked.known_range(), size, columns)
    return list(found.to_pylist())


def _counter_of(product_id: int) -> CountSpans:
    return lambda spans: count_here([span._replace(product_id=product_id) for span in spans])
