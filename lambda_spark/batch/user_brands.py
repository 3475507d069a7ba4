"""The batch view `user_brands`, kept current with the master dataset, and the same lists as of any moment.

Per user and distinct brand the newest event time, then the `limit` largest by (last_seen_at descending, brand
ascending). Events are merged shard by shard by the rule of history.merging, views by the same rule over DataFrames.
"""

from collections.abc import Iterator, Sequence
from functools import partial, reduce
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import schemas
from lambda_spark.batch.product_activity import commit_unless_overtaken, view_lineage
from lambda_spark.batch.tasks import combine_slice
from lambda_spark.delta import commits, tables
from lambda_spark.delta.coverage import COVERS, EVENTS_VERSION, RULE, usable_lineage
from lambda_spark.delta.event_log import event_files
from lambda_spark.delta.file_tasks import EventSlice, map_parts, split_slices
from lambda_spark.delta.parquet_files import RowBuilder, as_map_in_arrow, unchanged_rows
from lambda_spark.delta.tables import EVENTS, USER_BRANDS
from lambda_spark.history.merging import PACKED, lists_of_shards
from lambda_spark.settings import BrandSettings

# What a task reads: many events of a user to combine, few enough for its memory. And what a task merges.
_EVENTS_PER_PART, _EVENTS_PER_SHARD = 8_000_000, 2_000_000

_PACKED_IN_ARROW = pa.schema([("shard", pa.int32()), ("packed", pa.binary())])


def update_user_brands(spark: SparkSession, root: str, brands: BrandSettings, rebuild: bool = False) -> int:
    """Merge the events added since the last run into the view, or compute it from all events.

    Returns the version of `events` that the view covers now.
    """
    version = tables.version_of(root, EVENTS)
    before, lineage = None if rebuild else usable_lineage(root, USER_BRANDS), _brands_lineage(root, version, brands)
    if before is None or before[RULE] != lineage[RULE]:
        commit_unless_overtaken(root, stage_user_brands(spark, root, brands, version))
        return version
    added = event_files(root, version, before[EVENTS_VERSION])
    if added or before[COVERS] != lineage[COVERS]:
        lists = brand_lists(spark, [EventSlice(added)], brands)
        merged = merge_into(commits.read(spark, root, USER_BRANDS), lists, brands.limit)
        commit_unless_overtaken(root, commits.stage(merged, unchanged_rows, root, USER_BRANDS, None, lineage))
    return version


def stage_user_brands(spark: SparkSession, root: str, brands: BrandSettings, version: int) -> commits.Staged:
    """Compute the brands of all users from a version of the master dataset, beside the rows that they will replace."""
    combined = _combined_brands(spark, [EventSlice(event_files(root, version))], brands)
    lineage = _brands_lineage(root, version, brands)
    return commits.stage(combined, _list_builder(brands.limit), root, USER_BRANDS, None, lineage)


def brand_lists(spark: SparkSession, events: Sequence[EventSlice], brands: BrandSettings) -> DataFrame:
    """Compute the recent brands from events. One row per user_id, schemas.USER_BRANDS."""
    combined = _combined_brands(spark, events, brands)
    return combined.mapInArrow(as_map_in_arrow(_list_builder(brands.limit)), schemas.USER_BRANDS)


def merge_brand_lists(lists: Sequence[DataFrame], limit: int) -> DataFrame:
    """Merge views of recent brands (user_id, brands). One row per user_id, schemas.USER_BRANDS."""
    return _newest_first(_union(lists).select("user_id", F.inline("brands")), limit)


def merge_into(lists: DataFrame, changes: DataFrame, limit: int) -> DataFrame:
    """Merge changes into a view that has one row per user; users without changes keep their list, which is cheap.

    One row per user_id, schemas.USER_BRANDS.
    """
    touched = changes.select("user_id").distinct()
    known = lists.join(touched, "user_id", "left_semi")
    return _union([lists.join(touched, "user_id", "left_anti"), merge_brand_lists([known, changes], limit)])


def _union(lists: Sequence[DataFrame]) -> DataFrame:
    return reduce(lambda one, other: one.unionByName(other), [each.select("user_id", "brands") for each in lists])


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


def _combined_brands(spark: SparkSession, events: Sequence[EventSlice], brands: BrandSettings) -> DataFrame:
    """Combine events as far as a task has them. One row per (task, shard of users), columns as merging.PACKED.

    The rows of a shard are in one partition.
    """
    shards = 1 + sum(file.row_count for each in events for file in each.files) // _EVENTS_PER_SHARD
    combine = partial(combine_slice, event_types=brands.event_types, shards=shards)
    return map_parts(spark, split_slices(events, _EVENTS_PER_PART), combine, PACKED).repartition(shards, "shard")


def _list_builder(limit: int) -> RowBuilder:
    """Return a function that turns all of a partition's combined brands into one row per user."""

    def build(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table]]:
        packed = pa.Table.from_batches(batches, _PACKED_IN_ARROW)
        return ((lists,) for lists in lists_of_shards(packed, limit))

    return build


def _brands_lineage(root: str, version: int, brands: BrandSettings) -> dict[str, Any]:
    return {**view_lineage(root, version), RULE: brands.model_dump(mode="json")}
