"""Everybody's recent brands at a moment: both views merged, or computed from the master dataset.

If the moment is past the newest event and the views hold exactly the snapshot's events, merging them gives the lists
that the events give, and sooner.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark.batch import user_brands
from lambda_spark.delta import commits, event_log
from lambda_spark.delta.coverage import (
    COVERS,
    EVENTS_VERSION,
    RULE,
    is_covered_by,
    max_offsets,
    offsets_of,
    usable_lineage,
)
from lambda_spark.delta.file_tasks import EventSlice, slices_before
from lambda_spark.delta.tables import RECENT_BRANDS, USER_BRANDS
from lambda_spark.errors import NotComputedError
from lambda_spark.serving.snapshot import Snapshot
from lambda_spark.settings import BrandSettings


def computed_brands(
    spark: SparkSession, brands: BrandSettings, events: Sequence[EventSlice], as_of: datetime
) -> DataFrame:
    """Compute the recent brands from the events before an instant. One row per user_id, schemas.USER_BRANDS."""
    return user_brands.brand_lists(spark, slices_before(events, as_of), brands)


def merged_views(spark: SparkSession, root: str, limit: int, snapshot: Snapshot) -> DataFrame:
    """Merge the batch view and the realtime view. One row per user_id, schemas.USER_BRANDS.

    Raises NotComputedError if there is neither.
    """
    recent = commits.read(spark, root, RECENT_BRANDS, snapshot.realtime.version) if snapshot.realtime else None
    if snapshot.brands_version is None:
        if recent is None:
            raise NotComputedError(
                f"No user's brands are known in {root} yet: run {RECENT_BRANDS.written_by} or {USER_BRANDS.written_by}."
            )
        return user_brands.merge_brand_lists([recent], limit)
    stored = commits.read(spark, root, USER_BRANDS, snapshot.brands_version).withColumn(
        "brands", F.slice("brands", 1, limit)
    )
    return user_brands.merge_into(stored, recent, limit) if recent else stored


def is_present(root: str, snapshot: Snapshot, as_of: datetime) -> bool:
    """Return True if an instant is past the newest event that either layer holds."""
    newest = event_log.event_days(root, snapshot.counts.version)[-1].last_at if snapshot.counts.files else None
    if newest is None or newest >= as_of:
        return False
    return snapshot.seen_at is None or snapshot.seen_at < as_of


def views_cover(root: str, brands: BrandSettings, snapshot: Snapshot) -> bool:
    """Return True if both views of brands are of exactly the snapshot's events, by the present rule."""
    lineage, realtime = _brands_lineage(root, snapshot), snapshot.realtime
    if lineage is not None and lineage[RULE] != brands.model_dump(mode="json"):
        return False
    version = lineage[EVENTS_VERSION] if lineage is not None else None
    if _count_from_files(root, version) != _count_from_files(root, snapshot.counts.version):
        return False
    if realtime is None:
        return version is not None and not event_log.changed_days(root, version, snapshot.counts.version or 0)
    covered = offsets_of(lineage[COVERS], realtime.topic) if lineage else {}
    # A partition whose first messages neither view has isn't covered by the stream's later ones.
    reached = {n: end for n, end in realtime.reached.items() if realtime.start.get(n, 0) <= covered.get(n, 0)}
    return is_covered_by(snapshot.reached, max_offsets(covered, reached)) and is_covered_by(covered, snapshot.reached)


def _brands_lineage(root: str, snapshot: Snapshot) -> dict[str, Any] | None:
    version = snapshot.brands_version
    return None if version is None else usable_lineage(root, USER_BRANDS, version)


def _count_from_files(root: str, version: int | None) -> int:
    return event_log.event_counts(root, version)[1] if version is not None else 0
