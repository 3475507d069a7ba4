"""What the batch layer computes from the files of the master dataset, in Spark's tasks or in a process without Spark.

Each task counts its own stretch of time, so that distinct users are counted without a shuffle
(docs/adr/0012-batch-by-files.md). Runs on executors.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lambda_spark import engine
from lambda_spark.delta.file_tasks import EventFile, EventSlice, files_between, open_files
from lambda_spark.history import merging
from lambda_spark.history.merging import combine_stored, lists_of_shards
from lambda_spark.recommendations.rule import EXCLUDED_SQL
from lambda_spark.time_ranges import DAY, UTC, TimeRange, end_of, start_of
from lambda_spark.trends.counting import count_events


class Span(NamedTuple):
    """A range of whole buckets of one size, and the files that may hold its events; one product only, if given."""

    range: TimeRange
    size: timedelta
    files: Sequence[EventFile]
    product_id: int | None = None


class ExcludedProducts(NamedTuple):
    """Products that users interacted with, and that are not recommended. One row per (user_id, product_id), by user."""

    user_ids: NDArray[np.int64]
    product_ids: NDArray[np.int64]

    def of(self, user_id: int) -> set[int]:
        """Return the products of a user."""
        start, end = (int(self.user_ids.searchsorted(user_id, side)) for side in ("left", "right"))
        return set(self.product_ids[start:end].tolist())


def bucket_spans(files: Sequence[EventFile], time_range: TimeRange, size: timedelta) -> list[Span]:
    """Split a range into spans of about a day, in buckets from the range's start; spans without files are left out."""
    step = max(DAY // size, 1) * size
    starts = [time_range.start + number * step for number in range(-((time_range.start - time_range.end) // step))]
    spans = [_span(files, TimeRange(start, min(start + step, time_range.end)), size) for start in starts]
    return [span for span in spans if span.files]


def day_span(files: Sequence[EventFile], day: date) -> Span:
    """Return the span of one day."""
    return _span(files, TimeRange(start_of(day), end_of(day)), DAY)


def count_span(span: Span, bucket: str = "bucket_at") -> pa.Table:
    """Count a span that has files. One row per (bucket, product_id), columns as schemas.BUCKET_ACTIVITY.

    `bucket` is the SQL of the bucket's column, computed from `bucket_at`.
    """
    return count_events(open_files(span.files), span.range, span.size, bucket, span.product_id)


def combine_slice(part: EventSlice, event_types: Sequence[str], shards: int) -> pa.Table:
    """Combine what the users of a slice browsed. One row per shard of users, columns as merging.PACKED."""
    return combine_stored(open_files(part.files), part.condition, event_types, shards)


def list_of_user(user_id: int, events: Sequence[EventSlice], limit: int, event_types: Sequence[str] = ()) -> pa.Table:
    """Compute the recent brands of one user in this process: one row, or none without any brand."""
    own = [each._replace(condition=f"{each.condition} AND user_id = {user_id}") for each in events if each.files]
    packed = [combine_slice(each, event_types, 1) for each in own]
    nothing = pa.Table.from_batches([merging.brand_lists(merging.SIGHTINGS.empty_table())])
    return next(lists_of_shards(pa.concat_tables(packed), limit), nothing) if packed else nothing


def read_excluded(
    files: Sequence[EventFile], time_range: TimeRange, product_ids: pa.ChunkedArray | pa.Array, leave_out: str
) -> pa.Table:
    """Read which users interacted with which of the products in a range, as far as that excludes them.

    One row per (user_id, product_id), by user.
    """
    start, end = (instant.astimezone(UTC) for instant in time_range)
    files = files_between(files, start.date(), end.date())
    if not files or leave_out == "none":
        return pa.table({"user_id": pa.array([], pa.int64()), "product_id": pa.array([], pa.int64())})
    sql = f"""
        SELECT DISTINCT user_id, product_id FROM events SEMI JOIN asked USING (product_id)
        WHERE event_time >= TIMESTAMPTZ '{start}' AND event_time < TIMESTAMPTZ '{end}' AND {EXCLUDED_SQL[leave_out]}
        ORDER BY user_id
    """
    return engine.query(sql, events=open_files(files), asked=pa.table({"product_id": product_ids}))


def _span(files: Sequence[EventFile], time_range: TimeRange, size: timedelta) -> Span:
    start, end = (instant.astimezone(UTC) for instant in time_range)
    return Span(TimeRange(start, end), size, [file for file in files if start.date() <= file.day <= end.date()])
