"""A user's recent brands as Spark computes them: from events (batch layer), and by merging lists (serving layer).

Per user and distinct brand the newest event time, then the `limit` largest by (last_seen_at descending, brand
ascending). Merging lists and cutting them is commutative, associative and idempotent, so neither order nor repetition
can change a list. lambda_spark.brand_state has the same rule for the speed layer.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lambda_spark.brands import normalised_brand


def brand_lists(events: DataFrame, limit: int, event_types: Sequence[str] = ()) -> DataFrame:
    """Compute the recent brands from events; no event types means all. One row per user_id, schemas.USER_BRANDS."""
    browsed = events.where(F.col("event_type").isin(*event_types)) if event_types else events
    seen = browsed.select("user_id", normalised_brand(F.col("brand")).alias("brand"), "event_time")
    return _newest_first(seen.where(F.col("brand").isNotNull()).withColumnRenamed("event_time", "last_seen_at"), limit)


def merge_brand_lists(lists: Sequence[DataFrame], limit: int) -> DataFrame:
    """Merge views of recent brands (user_id, brands). One row per user_id, schemas.USER_BRANDS."""
    return _newest_first(_union(lists).select("user_id", F.inline("brands")), limit)


def newest_seen_at(lists: Sequence[DataFrame]) -> datetime | None:
    """Return the newest `last_seen_at` of all users in views of recent brands; the newest brand comes first."""
    newest = F.max(F.get("brands", F.lit(0))["last_seen_at"])
    found: datetime | None = _union(lists).agg(newest).collect()[0][0]
    return found


def _union(lists: Sequence[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, [brands.select("user_id", "brands") for brands in lists])


def _newest_first(seen: DataFrame, limit: int) -> DataFrame:
    """Turn rows of (user_id, brand, last_seen_at) into one list per user."""
    latest = seen.groupBy("user_id", "brand").agg(F.max("last_seen_at").alias("last_seen_at"))
    # Sorting structs needs no comparator: the time is negated, so that ascending order is newest first, then by brand.
    order = F.struct((-F.unix_micros("last_seen_at")).alias("age"), "brand")
    sorted_lists = latest.groupBy("user_id").agg(F.slice(F.sort_array(F.collect_list(order)), 1, limit).alias("brands"))
    return sorted_lists.select(
        "user_id",
        F.transform(
            "brands",
            lambda item: F.struct(item["brand"].alias("brand"), F.timestamp_micros(-item["age"]).alias("last_seen_at")),
        ).alias("brands"),
    )
