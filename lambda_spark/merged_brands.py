"""Everybody's recent brands at a moment: both views merged, or computed from all known events."""

from datetime import datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import merging, recent_brands, spark_tables, tables
from lambda_spark.brand_coverage import do_views_hold, is_present
from lambda_spark.errors import NotComputedError
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


def computed_brands(spark: SparkSession, brands: BrandSettings, known: KnownEvents, as_of: datetime) -> DataFrame:
    """Compute the brands from all known events before an instant. One row per user_id, schemas.USER_BRANDS."""
    files = [file for file in known.files if file.day <= as_of.astimezone(UTC).date()]
    return recent_brands.brand_lists(spark, files, brands.limit, brands.event_types, as_of, known.later)


def merged_views(spark: SparkSession, root: str, limit: int, live: LiveView | None) -> DataFrame:
    """Merge the batch view and the realtime view. One row per user_id, schemas.USER_BRANDS.

    Raises NotComputedError where there is neither.
    """
    log = spark_tables.read(spark, root, RECENT_BRANDS, live.log_version) if live else None
    if not tables.exists(root, USER_BRANDS):
        if log is None:
            raise NotComputedError(
                f"No user's brands are known in {root} yet: run {RECENT_BRANDS.written_by} or {USER_BRANDS.written_by}."
            )
        return merging.merge_brand_lists([log], limit)
    cut = spark_tables.read(spark, root, USER_BRANDS).withColumn("brands", F.slice("brands", 1, limit))
    return merging.merge_into(cut, log, limit) if log else cut
