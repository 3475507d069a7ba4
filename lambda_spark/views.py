"""The batch views kept up to date: each remembers which version of the master dataset it was computed from."""

import logging
from collections.abc import Sequence
from datetime import date
from typing import Any

from pyspark.sql import SparkSession

from lambda_spark import activity, commits, merging, recent_brands, spark_tables, tables
from lambda_spark.days import changed_days
from lambda_spark.errors import OvertakenError
from lambda_spark.handover import COVERS, EVENTS_VERSION, RULE, basis_of
from lambda_spark.parquet_files import as_they_are
from lambda_spark.settings import BrandSettings
from lambda_spark.tables import EVENTS, PRODUCT_ACTIVITY, USER_BRANDS

_log = logging.getLogger(__name__)


def update_product_activity(spark: SparkSession, root: str) -> int:
    """Recompute the days that events were added to since; return the version of `events` that the view covers now."""
    version = tables.version_of(root, EVENTS)
    lineage, days = basis_of(root, PRODUCT_ACTIVITY), None
    if lineage is not None:
        days = changed_days(root, lineage[EVENTS_VERSION], version)
    if days != []:
        _swap_in(root, stage_product_activity(spark, root, version, days))
    return version


def stage_product_activity(
    spark: SparkSession, root: str, version: int, days: Sequence[date] | None = None
) -> commits.Staged:
    """Count all days of a version of the master dataset, or some, beside the rows that they will replace."""
    files, where = tables.event_files(root, version), "true"
    if days is not None:
        files = [file for file in files if file.day in days]
        where = "event_date IN ({})".format(", ".join(f"DATE '{day}'" for day in days))
    counts = activity.product_activity(spark, files)
    return commits.stage(counts, as_they_are, root, PRODUCT_ACTIVITY, where, _lineage(root, version))


def update_user_brands(spark: SparkSession, root: str, brands: BrandSettings, rebuild: bool = False) -> int:
    """Merge the events since the last time into the view, or compute it from the first event on.

    Returns the version of `events` it covers now.
    """
    version = tables.version_of(root, EVENTS)
    before, lineage = None if rebuild else basis_of(root, USER_BRANDS), _brands_lineage(root, version, brands)
    if before is None or before[RULE] != lineage[RULE]:
        _swap_in(root, stage_user_brands(spark, root, brands, version))
        return version
    added = tables.event_files(root, version, before[EVENTS_VERSION])
    if added or before[COVERS] != lineage[COVERS]:
        lists = recent_brands.brand_lists(spark, added, brands.limit, brands.event_types)
        merged = merging.merge_into(spark_tables.read(spark, root, USER_BRANDS), lists, brands.limit)
        _swap_in(root, commits.stage(merged, as_they_are, root, USER_BRANDS, "true", lineage))
    return version


def stage_user_brands(spark: SparkSession, root: str, brands: BrandSettings, version: int) -> commits.Staged:
    """Compute everybody's brands of a version of the master dataset, beside the rows that they will replace."""
    combined = recent_brands.combined_brands(spark, tables.event_files(root, version), brands.event_types)
    make_rows, lineage = recent_brands.list_maker(brands.limit), _brands_lineage(root, version, brands)
    return commits.stage(combined, make_rows, root, USER_BRANDS, "true", lineage)


def _swap_in(root: str, staged: commits.Staged) -> None:
    """Let readers see the rows, unless another run has stored later ones meanwhile, which have all that these have."""
    try:
        commits.swap_in(root, staged)
    except OvertakenError as error:
        _log.warning("%s", error)


def _lineage(root: str, version: int) -> dict[str, Any]:
    """Return what a view's commit tells of the events that it is of: their version, and how far it has the topic."""
    return {EVENTS_VERSION: version, COVERS: tables.lineage_of(root, EVENTS, version) or {}}


def _brands_lineage(root: str, version: int, brands: BrandSettings) -> dict[str, Any]:
    return {**_lineage(root, version), RULE: brands.model_dump(mode="json")}
