"""The counts of a window as NumPy arrays: how often what happened to which product in which bucket.

The windows of trends: which one is asked for, and the trends of it from all that is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lambda_spark.schemas import COUNT_COLUMNS, OTHER
from lambda_spark.settings import TrendSettings
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

# What is read of lambda_spark.activity's counts; those of the event types, where these weigh differently.
_COLUMNS = ("product_id", "brand", "category_code", "event_count", "user_count")
INSTANT = pa.timestamp("us", tz="UTC")
Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class WindowCounts:
    """Rows of the activity, one per product and bucket, which are places in `product_ids` and `starts`; in no order."""

    activity: pa.Table
    inside: Places | slice  # the rows of the window
    product_ids: NDArray[np.int64]
    starts: NDArray[Any]
    product: Places
    bucket: Places

    def column(self, name: str) -> Numbers:
        """Return the numbers of a column, one for each row."""
        numbers: Numbers = self.activity[name].to_numpy()[self.inside].astype(np.float64)
        return numbers

    def weighted(self, weights: Mapping[str, float]) -> Numbers:
        """Return the weighted sum of each row's events: the four types by their weights, all others by `other`."""
        others = self.column("event_count")
        if _are_alike(weights):
            return others * weights[OTHER]
        count = np.zeros(len(others))
        for name, column in COUNT_COLUMNS.items():
            of_type = self.column(column)
            count, others = count + weights[name] * of_type, others - of_type
        return count + weights[OTHER] * others

    def summed_by_bucket(self, values: Numbers) -> Numbers:
        """Sum what there is for each row."""
        return _sums(self.bucket, values, len(self.starts))

    def summed_by_product(self, values: Numbers) -> Numbers:
        """Sum what there is for each row."""
        return _sums(self.product, values, len(self.product_ids))

    def spread(self, values: Numbers, products: Places) -> Numbers:
        """Return the values of some products: a row each, a column per bucket, 0 where there is none."""
        place = self._places_among(products)
        is_asked = place >= 0
        cell = place[is_asked] * len(self.starts) + self.bucket[is_asked]
        cells = _sums(cell, values[is_asked], len(products) * len(self.starts))
        return cells.reshape(len(products), len(self.starts))

    def newest(self, column: str, products: Places) -> pa.Array:
        """Return the value of the last bucket that has one, for each of some products."""
        asked = np.flatnonzero(self._places_among(products) >= 0)
        rows = np.arange(len(self.activity))[self.inside][asked]
        values = self.activity[column].take(pa.array(rows)).combine_chunks()
        there = np.flatnonzero(pc.is_valid(values))
        in_order = there[np.argsort(self.bucket[asked[there]], kind="stable")]
        place_of = np.full(len(self.product_ids), -1)
        place_of[self.product[asked[in_order]]] = in_order  # of several the last stays
        place = place_of[products]
        return values.take(pa.array(place, mask=place < 0))

    def _places_among(self, products: Places) -> Places:
        place = np.full(len(self.product_ids), -1)
        place[products] = np.arange(len(products))
        places: Places = place[self.product]
        return places


def columns_read(weights: Mapping[str, float]) -> tuple[str, ...]:
    """Return the columns of the activity that are needed, beside its bucket."""
    return _COLUMNS if _are_alike(weights) else (*_COLUMNS, *COUNT_COLUMNS.values())


def window_counts(activity: pa.Table, window: TimeRange, size: timedelta) -> WindowCounts:
    """Take the rows of a window of buckets of that size, one per (bucket_at, product_id)."""
    width, start = size // MICROSECOND, micros(window.start)
    buckets = (window.end - window.start) // size
    starts = (start + width * np.arange(buckets)).astype("datetime64[us]")
    bucket = (activity["bucket_at"].cast(pa.int64()).to_numpy() - start) // width
    is_inside = (bucket >= 0) & (bucket < buckets)
    # Mostly only these have been read.
    inside = slice(None) if is_inside.all() else np.flatnonzero(is_inside)
    ids = pa.array(activity["product_id"].to_numpy()[inside]).dictionary_encode()
    return WindowCounts(activity, inside, ids.dictionary.to_numpy(), starts, ids.indices.to_numpy(), bucket[inside])


def _are_alike(weights: Mapping[str, float]) -> bool:
    return len(set(weights.values())) == 1


def _sums(places: Places, values: Numbers, count: int) -> Numbers:
    # Without any rows NumPy would return whole numbers.
    sums: Numbers = np.bincount(places, values, count).astype(np.float64)
    return sums


def resolve_request(settings: TrendSettings, asked: TimeRange | None, days: Sequence[EventDay]) -> Request:
    """Return the range and bucket to answer, of the days known: those asked for, or the default.

    Raises TimeRangeError for a range that cannot be answered.
    """
    bucket = bucket_name(parse_bucket(settings.bucket))
    if asked is None:
        return default_request(days, settings.days, bucket)
    return Request(check_range(asked, bucket), bucket, check_held(asked, days))


def window_condition(window: TimeRange) -> str:
    """Return the SQL condition that a row belongs to the window, for Spark and for delta-rs."""
    start, end = (f"TIMESTAMP '{instant.astimezone(UTC).isoformat()}'" for instant in window)
    return f"window_from = {start} AND window_to = {end}"


def condition_of(windows: Sequence[TimeRange], bucket: str) -> str:
    """Return the SQL condition of the rows of windows with that bucket."""
    return f"bucket = '{bucket}' AND ({' OR '.join(map(window_condition, windows))})"
