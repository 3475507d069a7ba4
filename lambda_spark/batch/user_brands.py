"""A user's recent brands as the batch layer computes them, from the files of the master dataset.

Per user and distinct brand the newest event time, then the `limit` largest by (last_seen_at descending, brand
ascending). Merging lists and cutting them is commutative, associative and idempotent, so neither order nor repetition
can change a list. What comes from files is merged by the speed layer's own rule, lambda_spark.sightings; views are
merged in Spark, where they are, by the same rule (lambda_spark.merging).

The batch views kept up to date: each remembers which version of the master dataset it was computed from.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import SparkSession

from lambda_spark import schemas
from lambda_spark.batch.product_activity import commit_unless_overtaken, events_lineage
from lambda_spark.delta import commits, event_log, tables
from lambda_spark.delta.coverage import COVERS, EVENTS_VERSION, RULE, usable_lineage
from lambda_spark.delta.event_log import EventFile, in_parts, over_parts
from lambda_spark.delta.parquet_files import as_map_in_arrow, unchanged_rows
from lambda_spark.delta.tables import EVENTS, USER_BRANDS
from lambda_spark.history import combining, merging
from lambda_spark.history.combining import NO_LISTS, PACKED, brand_condition, combine_events, list_maker
from lambda_spark.settings import BrandSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# What a task reads: many events of a user to combine, few enough for its memory. And what a task merges.
_EVENTS_PER_PART, _EVENTS_PER_SHARD = 8_000_000, 2_000_000


def brand_lists(
    spark: "SparkSession",
    files: Sequence[EventFile],
    limit: int,
    event_types: Sequence[str] = (),
    before: datetime | None = None,
    later: pa.Table | None = None,
) -> "DataFrame":
    """Compute the recent brands from events, from those before an instant where one is given. One row per user_id.

    `later` are events that are in no file, rows as live_events.LIVE_EVENTS. No event types means all. Columns as
    schemas.USER_BRANDS.
    """
    combined = combined_brands(spark, files, event_types, before, later)
    return combined.mapInArrow(as_map_in_arrow(list_maker(limit)), schemas.USER_BRANDS)


def combined_brands(
    spark: "SparkSession",
    files: Sequence[EventFile],
    event_types: Sequence[str] = (),
    before: datetime | None = None,
    later: pa.Table | None = None,
) -> "DataFrame":
    """Combine events as far as a task has them. One row per (task, shard of users), columns as brand_state.PACKED.

    The rows of a shard are in one partition.
    """
    shards = 1 + sum(file.row_count for file in files) // _EVENTS_PER_SHARD
    combine = partial(combine_events, condition=brand_condition(event_types, before), shards=shards)
    parts: list[list[EventFile] | pa.Table] = [*in_parts(files, _EVENTS_PER_PART), *([later] if later else [])]
    return over_parts(spark, parts, combine, PACKED).repartition(shards, "shard")


def list_of_user(
    user_id: int,
    files: Sequence[EventFile],
    limit: int,
    event_types: Sequence[str] = (),
    before: datetime | None = None,
    later: pa.Table | None = None,
) -> pa.Table:
    """Compute the same for one user here, in this process: one row, or none where no brand is known of the user."""
    parts = [part for part in (list(files), later) if part]
    condition = f"{brand_condition(event_types, before)} AND user_id = {user_id}"
    packed = [batch for part in parts for batch in combine_events(part, condition, 1).to_batches()]
    return next(list_maker(limit)(iter(packed)), (NO_LISTS,))[0]


def update_user_brands(spark: SparkSession, root: str, brands: BrandSettings, rebuild: bool = False) -> int:
    """Merge the events since the last time into the view, or compute it from the first event on.

    Returns the version of `events` it covers now.
    """
    version = tables.version_of(root, EVENTS)
    before, lineage = None if rebuild else usable_lineage(root, USER_BRANDS), _brands_lineage(root, version, brands)
    if before is None or before[RULE] != lineage[RULE]:
        commit_unless_overtaken(root, stage_user_brands(spark, root, brands, version))
        return version
    added = event_log.event_files(root, version, before[EVENTS_VERSION])
    if added or before[COVERS] != lineage[COVERS]:
        lists = brand_lists(spark, added, brands.limit, brands.event_types)
        merged = merging.merge_into(commits.read(spark, root, USER_BRANDS), lists, brands.limit)
        commit_unless_overtaken(root, commits.stage(merged, unchanged_rows, root, USER_BRANDS, None, lineage))
    return version


def stage_user_brands(spark: SparkSession, root: str, brands: BrandSettings, version: int) -> commits.Staged:
    """Compute everybody's brands of a version of the master dataset, beside the rows that they will replace."""
    combined = combined_brands(spark, event_log.event_files(root, version), brands.event_types)
    make_rows, lineage = combining.list_maker(brands.limit), _brands_lineage(root, version, brands)
    return commits.stage(combined, make_rows, root, USER_BRANDS, None, lineage)


def _brands_lineage(root: str, version: int, brands: BrandSettings) -> dict[str, Any]:
    return {**events_lineage(root, version), RULE: brands.model_dump(mode="json")}
