"""The counts of a window as NumPy arrays: how often what happened to which product in which bucket."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lambda_spark.schemas import COUNT_COLUMNS, OTHER
from lambda_spark.time_ranges import UTC, TimeRange

# What is read of lambda_spark.activity's counts.
COLUMNS = ("product_id", "brand", "category_code", *COUNT_COLUMNS.values(), "event_count", "user_count")

INSTANT = pa.timestamp("us", tz="UTC")

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class WindowCounts:
    """A row per product and bucket, both given by their places in `product_ids` and `starts`, in no order."""

    rows: pa.Table
    product_ids: NDArray[np.int64]
    starts: NDArray[Any]
    product: Places
    bucket: Places

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
        values = self.rows[column].combine_chunks()
        there = np.flatnonzero((self._places_among(products) >= 0) & pc.is_valid(values).to_numpy(zero_copy_only=False))
        in_order = there[np.argsort(self.bucket[there], kind="stable")]
        row_of = np.full(len(self.product_ids), -1)
        row_of[self.product[in_order]] = in_order  # of several the last stays
        rows = row_of[products]
        return values.take(pa.array(rows, mask=rows < 0))

    def _places_among(self, products: Places) -> Places:
        place = np.full(len(self.product_ids), -1)
        place[products] = np.arange(len(products))
        places: Places = place[self.product]
        return places


def window_counts(activity: pa.Table, window: TimeRange, size: timedelta) -> WindowCounts:
    """Take the rows of a window of buckets of that size, one per (bucket_at, product_id)."""
    width = np.timedelta64(size, "us")
    starts = np.datetime64(window.start.astimezone(UTC).replace(tzinfo=None), "us") + width * np.arange(
        (window.end - window.start) // size
    )
    bucket = (activity["bucket_at"].to_numpy() - starts[0]) // width
    inside = np.flatnonzero((bucket >= 0) & (bucket < len(starts)))
    rows = activity.take(pa.array(inside))
    ids = rows["product_id"].combine_chunks().dictionary_encode()
    return WindowCounts(rows, ids.dictionary.to_numpy(), starts, ids.indices.to_numpy(), bucket[inside])


def weighted_count(rows: pa.Table, weights: Mapping[str, float]) -> Numbers:
    """Return the weighted sum of each row's events: each of the four types by its weight, all others by `other`."""
    others = rows["event_count"].to_numpy().astype(np.float64)
    count = np.zeros(len(others))
    for name, column in COUNT_COLUMNS.items():
        of_type = rows[column].to_numpy()
        count, others = count + weights[name] * of_type, others - of_type
    weighted: Numbers = count + weights[OTHER] * others
    return weighted


def _sums(places: Places, values: Numbers, count: int) -> Numbers:
    # Without any rows NumPy would return whole numbers.
    sums: Numbers = np.bincount(places, values, count).astype(np.float64)
    return sums
