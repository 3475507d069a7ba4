"""Everybody's recent brands at a moment: both views merged, or computed from all known events.

Whether the views of recent brands hold what is known, so that an answer may be taken from them.
"""

from datetime import datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark.batch import user_brands
from lambda_spark.delta import commits, event_log, tables
from lambda_spark.delta.coverage import (
    COVERS,
    EVENTS_VERSION,
    RULE,
    is_covered_by,
    max_offsets,
    offsets_of,
    usable_lineage,
)
from lambda_spark.delta.event_log import changed_days
from lambda_spark.delta.tables import RECENT_BRANDS, USER_BRANDS
from lambda_spark.errors import NotComputedError
from lambda_spark.history import merging
from lambda_spark.schemas import Offsets
from lambda_spark.serving.snapshot import KnownEvents, LiveView, newest_at
from lambda_spark.settings import BrandSettings
from lambda_spark.time_ranges import UTC


def brands_as_of(
    spark: SparkSession, root: str, brands: BrandSettings, live: LiveView | None, known: KnownEvents, as_of: datetime
) -> DataFrame:
    """Return everybody's recent brands as they stood before an instant. One row per user_id, schemas.USER_BRANDS.

    Where the instant lies past the newest event of all, and the views hold all that is known, they have the answer;
    else it is computed from what is known. Both are the same.
    """
    if is_present(root, known, as_of) and views_cover(root, brands, live, known):
        return merged_views(spark, root, brands.limit, live)
    return computed_brands(spark, brands, known, as_of)


def computed_brands(spark: SparkSession, brands: BrandSettings, known: KnownEvents, as_of: datetime) -> DataFrame:
    """Compute the brands from all known events before an instant. One row per user_id, schemas.USER_BRANDS."""
    files = [file for file in known.files if file.day <= as_of.astimezone(UTC).date()]
    return user_brands.brand_lists(spark, files, brands.limit, brands.event_types, as_of, known.later)


def merged_views(spark: SparkSession, root: str, limit: int, live: LiveView | None) -> DataFrame:
    """Merge the batch view and the realtime view. One row per user_id, schemas.USER_BRANDS.

    Raises NotComputedError where there is neither.
    """
    log = commits.read(spark, root, RECENT_BRANDS, live.log_version) if live else None
    if not tables.exists(root, USER_BRANDS):
        if log is None:
            raise NotComputedError(
                f"No user's brands are known in {root} yet: run {RECENT_BRANDS.written_by} or {USER_BRANDS.written_by}."
            )
        return merging.merge_brand_lists([log], limit)
    cut = commits.read(spark, root, USER_BRANDS).withColumn("brands", F.slice("brands", 1, limit))
    return merging.merge_into(cut, log, limit) if log else cut


def is_present(root: str, known: KnownEvents, as_of: datetime) -> bool:
    """Say whether an instant lies past the newest event that is known."""
    newest = newest_at(root, known)
    return newest is not None and newest < as_of


def views_cover(root: str, brands: BrandSettings, live: LiveView | None, known: KnownEvents) -> bool:
    """Say whether the views of recent brands are of all known events, no more and no less, by the present rule."""
    lists = usable_lineage(root, USER_BRANDS)
    if lists is not None and lists[RULE] != brands.model_dump(mode="json"):
        return False
    version = lists[EVENTS_VERSION] if lists is not None else None
    if _from_files(root, version) != _from_files(root, known.version):
        return False
    topic = known.topic
    if topic is None:
        return version is not None and not changed_days(root, version, known.version or 0)
    covered: Offsets = offsets_of(lists[COVERS], topic) if lists else {}
    held, reached = (live.held_brands, live.reached) if live else ({}, {})
    # Of a partition whose first messages neither view has, the stream's later ones do not help.
    seen = {number: end for number, end in reached.items() if held.get(number, 0) <= covered.get(number, 0)}
    return is_covered_by(known.reached, max_offsets(covered, seen)) and is_covered_by(covered, known.reached)


def _from_files(root: str, version: int | None) -> int:
    return event_log.event_counts(root, version)[1] if version is not None else 0
