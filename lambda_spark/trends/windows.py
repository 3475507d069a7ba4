"""Windows of trends: the one that a request asks for, and the counts of a window as NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lambda_spark.schemas import COUNT_COLUMNS, OTHER
from lambda_spark.time_ranges import (
    MICROSECOND,
    UTC,
    EventDay,
    Request,
    TimeRange,
    bucket_name,
    check_held,
    check_range,
    default_request,
    micros,
    parse_bucket,
)

if TYPE_CHECKING:
    from lambda_spark.settings import TrendSettings

INSTANT = pa.timestamp("us", tz="UTC")
Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

# The columns of trends/counting.py that are read; those of the event types only if their weights differ.
_COLUMNS = ("product_id", "brand", "category_code", "event_count", "user_count")


def resolve_request(settings: TrendSettings, asked: TimeRange | None, days: Sequence[EventDay]) -> Request:
    """Return the range and bucket to answer: the requested range, or the default range of the days with events.

    Raises TimeRangeError for a range that cannot be answered.
    """
    bucket = bucket_name(parse_bucket(settings.bucket))
    if asked is None:
        return default_request(days, settings.days, bucket)
    return Request(check_range(asked, bucket), bucket, check_held(asked, days))


def window_condition(window: TimeRange) -> str:
    """Return the SQL condition of the rows of a window, for Spark and for delta-rs."""
    start, end = (f"TIMESTAMP '{instant.astimezone(UTC).isoformat()}'" for instant in window)
    return f"window_from = {start} AND window_to = {end}"


def condition_of(windows: Sequence[TimeRange], bucket: str) -> str:
    """Return the SQL condition of the rows of several windows with the same bucket."""
    return f"bucket = '{bucket}' AND ({' OR '.join(map(window_condition, windows))})"


@dataclass(frozen=True)
class WindowCounts:
    """The counts of a window, in no order. One row per (product, bucket) with events, as `product` and `bucket` say.

    These two are indices of `product_ids` and of `starts`, the starts of the buckets.
    """

    activity: pa.Table
    inside: Indices | slice  # the rows of `activity` that are in the window
    product_ids: NDArray[np.int64]
    starts: NDArray[Any]
    product: Indices
    bucket: Indices

    def column(self, name: str) -> Numbers:
        """Return the numbers of a column, one per row."""
        numbers: Numbers = self.activity[name].to_numpy()[self.inside].astype(np.float64)
        return numbers

    def weighted(self, weights: Mapping[str, float]) -> Numbers:
        """Return the weighted event count of each row: four types by their own weights, all others by `other`."""
        others = self.column("event_count")
        if _are_alike(weights):
            return others * weights[OTHER]
        count = np.zeros(len(others))
        for name, column in COUNT_COLUMNS.items():
            of_type = self.column(column)
            count, others = count + weights[name] * of_type, others - of_type
        return count + weights[OTHER] * others

    def summed_by_bucket(self, values: Numbers) -> Numbers:
        """Sum values, one per row, by bucket."""
        return _sums(self.bucket, values, len(self.starts))

    def summed_by_product(self, values: Numbers) -> Numbers:
        """Sum values, one per row, by product."""
        return _sums(self.product, values, len(self.product_ids))

    def spread(self, values: Numbers, products: Indices) -> Numbers:
        """Spread the values of some products into a matrix: a row per product, a column per bucket, else 0."""
        index = self._index_among(products)
        is_among = index >= 0
        cell = index[is_among] * len(self.starts) + self.bucket[is_among]
        cells = _sums(cell, values[is_among], len(products) * len(self.starts))
        return cells.reshape(len(products), len(self.starts))

    def newest(self, column: str, products: Indices) -> pa.Array:
        """Return the newest value of a column that isn't NULL, for each of some products."""
        among = np.flatnonzero(self._index_among(products) >= 0)
        rows = np.arange(len(self.activity))[self.inside][among]
        values = self.activity[column].take(pa.array(rows)).combine_chunks()
        valid = np.flatnonzero(pc.is_valid(values))
        in_order = valid[np.argsort(self.bucket[among[valid]], kind="stable")]
        newest_of = np.full(len(self.product_ids), -1)
        newest_of[self.product[among[in_order]]] = in_order  # the last assignment of a product wins
        newest = newest_of[products]
        return values.take(pa.array(newest, mask=newest < 0))

    def _index_among(self, products: Indices) -> Indices:
        """Return the index of each row's product in `products`, -1 if it isn't among them."""
        index_of = np.full(len(self.product_ids), -1)
        index_of[products] = np.arange(len(products))
        index: Indices = index_of[self.product]
        return index


def columns_read(weights: Mapping[str, float]) -> tuple[str, ...]:
    """Return the columns of counts that trends with these weights need, besides the bucket."""
    return _COLUMNS if _are_alike(weights) else (*_COLUMNS, *COUNT_COLUMNS.values())


def window_counts(activity: pa.Table, window: TimeRange, size: timedelta) -> WindowCounts:
    """Return the counts of a window with buckets of that size, from rows per (bucket_at, product_id)."""
    width, start = size // MICROSECOND, micros(window.start)
    buckets = (window.end - window.start) // size
    starts = (start + width * np.arange(buckets)).astype("datetime64[us]")
    bucket = (activity["bucket_at"].cast(pa.int64()).to_numpy() - start) // width
    is_inside = (bucket >= 0) & (bucket < buckets)
    # Usually all rows are in the window.
    inside = slice(None) if is_inside.all() else np.flatnonzero(is_inside)
    ids = pa.array(activity["product_id"].to_numpy()[inside]).dictionary_encode()
    return WindowCounts(activity, inside, ids.dictionary.to_numpy(), starts, ids.indices.to_numpy(), bucket[inside])


def _are_alike(weights: Mapping[str, float]) -> bool:
    return len(set(weights.values())) == 1


def _sums(indices: Indices, values: Numbers, count: int) -> Numbers:
    # Without rows NumPy returns integers.
    sums: Numbers = np.bincount(indices, values, count).astype(np.float64)
    return sums
