"""What users have met in a window, and is left out of their recommendations: read from known events without Spark."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lambda_spark import parsing
from lambda_spark.known_events import KnownEvents, select_within
from lambda_spark.recommendations import IS_LEFT_OUT
from lambda_spark.time_ranges import TimeRange


@dataclass(frozen=True)
class MetProducts:
    """One row per (user_id, product_id), by user."""

    user_ids: NDArray[np.int64]
    product_ids: NDArray[np.int64]

    def of(self, user_id: int) -> set[int]:
        """Return what a user has met."""
        start, end = (int(self.user_ids.searchsorted(user_id, side)) for side in ("left", "right"))
        return set(self.product_ids[start:end].tolist())


def read_met(known: KnownEvents, time_range: TimeRange, products: pa.Array, leave_out: str) -> MetProducts:
    """Read who met which of the products in a range, as far as that is to be left out."""
    events, sources = select_within(known, time_range, "event_type, user_id, product_id")
    sql = f"""
        SELECT DISTINCT user_id, product_id FROM ({events}) SEMI JOIN asked USING (product_id)
        WHERE {IS_LEFT_OUT[leave_out]} ORDER BY user_id
    """
    met = parsing.run(parsing.connect().cursor(), sql, asked=pa.table({"product_id": products}), **sources)
    return MetProducts(met["user_id"].to_numpy(), met["product_id"].to_numpy())
