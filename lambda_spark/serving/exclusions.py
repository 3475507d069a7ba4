"""Products that users interacted with in a window, and that are not recommended to them: read without Spark."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lambda_spark import engine
from lambda_spark.batch.bucket_counts import CountedEvents
from lambda_spark.delta.event_log import files_between
from lambda_spark.delta.file_tasks import open_files
from lambda_spark.recommendations.rule import EXCLUDED_SQL
from lambda_spark.time_ranges import UTC, TimeRange


class ExcludedProducts(NamedTuple):
    """Products that users interacted with, and that are not recommended. One row per (user_id, product_id), by user."""

    user_ids: NDArray[np.int64]
    product_ids: NDArray[np.int64]

    def of(self, user_id: int) -> set[int]:
        """Return the products of a user."""
        start, end = (int(self.user_ids.searchsorted(user_id, side)) for side in ("left", "right"))
        return set(self.product_ids[start:end].tolist())


def read_excluded(
    counts: CountedEvents, time_range: TimeRange, product_ids: pa.ChunkedArray | pa.Array, leave_out: str
) -> pa.Table:
    """Read which users interacted with which of the products in a range, as far as that excludes them.

    One row per (user_id, product_id), by user.
    """
    start, end = (instant.astimezone(UTC) for instant in time_range)
    files = files_between(counts.files, start.date(), end.date())
    if not files or leave_out == "none":
        return pa.table({"user_id": pa.array([], pa.int64()), "product_id": pa.array([], pa.int64())})
    sql = f"""
        SELECT DISTINCT user_id, product_id FROM events SEMI JOIN asked USING (product_id)
        WHERE event_time >= TIMESTAMPTZ '{start}' AND event_time < TIMESTAMPTZ '{end}' AND {EXCLUDED_SQL[leave_out]}
        ORDER BY user_id
    """
    return engine.query(sql, events=open_files(files), asked=pa.table({"product_id": product_ids}))
