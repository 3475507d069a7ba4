"""Everybody's recent brands at a moment: both views merged, or computed from all known events."""

from datetime import datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import recent_brands, tables, views
from lambda_spark.checkpoints import Offsets
from lambda_spark.errors import NotComputedError
from lambda_spark.handover import COVERS, RULE, further, is_within, offsets_of
from lambda_spark.known_days import newest_at
from lambda_spark.known_events import KnownEvents, LiveView
from lambda_spark.settings import BrandSettings
from lambda_spark.tables import RECENT_BRANDS, USER_BRANDS
from lambda_spark.time_ranges import UTC


def brands_as_of(
    spark: SparkSession, root: str, brands: BrandSettings, live: LiveView | None, known: KnownEvents, as_of: datetime
) -> DataFrame:
    """Return everybody's recent brands as they stood before an instant. One row per user_id, schemas.USER_BRANDS.

    Where the instant lies past the newest event of all, and the views hold all that is known, they have the answer;
    else it is computed from what is known. Both are the same.
    """
    if is_present(root, known, as_of) and do_views_hold(root, brands, live, known):
        return merged_views(spark, root, brands.limit, live)
    return computed_brands(spark, brands, known, as_of)


def is_present(root: str, known: KnownEvents, as_of: datetime) -> bool:
    """Say whether an instant lies past the newest event that is known."""
    newest = newest_at(root, known)
    return newest is not None and newest < as_of


def computed_brands(spark: SparkSession, brands: BrandSettings, known: KnownEvents, as_of: datetime) -> DataFrame:
    """Compute the brands from all known events before an instant. One row per user_id, schemas.USER_BRANDS."""
    files = [file for file in known.files if file.day <= as_of.astimezone(UTC).date()]
    return recent_brands.brand_lists(spark, files, brands.limit, brands.event_types, as_of, known.later)


def merged_views(spark: SparkSession, root: str, limit: int, live: LiveView | None) -> DataFrame:
    """Merge the batch view and the realtime view. One row per user_id, schemas.USER_BRANDS.

    Raises NotComputedError where there is neither.
    """
    log = tables.read(spark, root, RECENT_BRANDS, live.log_version) if live else None
    if not tables.exists(root, USER_BRANDS):
        if log is None:
            raise NotComputedError(
                f"No user's brands are known in {root} yet: run {RECENT_BRANDS.written_by} or {USER_BRANDS.written_by}."
            )
        return recent_brands.merge_brand_lists([log], limit)
    cut = tables.read(spark, root, USER_BRANDS).withColumn("brands", F.slice("brands", 1, limit))
    return recent_brands.merge_into(cut, log, limit) if log else cut


def do_views_hold(root: str, brands: BrandSettings, live: LiveView | None, known: KnownEvents) -> bool:
    """Say whether the views of recent brands are of all known events, no more and no less, by the present rule."""
    lists = tables.lineage_of(root, USER_BRANDS)
    if lists is not None and lists[RULE] != brands.model_dump(mode="json"):
        return False
    version = lists[views.EVENTS_VERSION] if lists is not None else None
    if _from_files(root, version) != _from_files(root, known.version):
        return False
    topic = known.topic
    if topic is None:
        return version is not None and not views.changed_days(root, version, known.version or 0)
    covered: Offsets = offsets_of(lists[COVERS], topic) if lists else {}
    held, reached = (live.held_brands, live.reached) if live else ({}, {})
    # Of a partition whose first messages neither view has, the stream's later ones do not help.
    seen = {number: end for number, end in reached.items() if held.get(number, 0) <= covered.get(number, 0)}
    return is_within(known.reached, further(covered, seen)) and is_within(covered, known.reached)


def _from_files(root: str, version: int | None) -> int:
    return tables.event_counts(root, version)[1] if version is not None else 0
