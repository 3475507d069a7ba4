"""Views of recent brands merged in Spark: the newest time of each user and brand, cut to the most recent.

The same rule as lambda_spark.sightings, which has it over Arrow tables.
"""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def merge_brand_lists(lists: Sequence[DataFrame], limit: int) -> DataFrame:
    """Merge views of recent brands (user_id, brands). One row per user_id, schemas.USER_BRANDS."""
    return _newest_first(_union(lists).select("user_id", F.inline("brands")), limit)


def merge_into(lists: DataFrame, changes: DataFrame, limit: int) -> DataFrame:
    """Merge changes into a view that has one row per user; the users without any keep their list, which costs little.

    One row per user_id, schemas.USER_BRANDS.
    """
    touched = changes.select("user_id").distinct()
    known = lists.join(touched, "user_id", "left_semi")
    return _union([lists.join(touched, "user_id", "left_anti"), merge_brand_lists([known, changes], limit)])


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
