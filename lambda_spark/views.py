"""The batch views kept up to date: each remembers which version of the master dataset it was computed from."""

from datetime import date, datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import activity, commits, recent_brands, tables
from lambda_spark.errors import NotComputedError
from lambda_spark.handover import COVERS, RULE
from lambda_spark.parquet_files import as_they_are
from lambda_spark.settings import BrandSettings
from lambda_spark.tables import EVENTS, PRODUCT_ACTIVITY, RECENT_BRANDS, USER_BRANDS, Table
from lambda_spark.time_ranges import UTC, DayHeld

# The key of a view's lineage: the version of `events` that it covers.
EVENTS_VERSION = "events_version"

_DAY = "partition.event_date"


def days_held(root: str) -> list[DayHeld]:
    """Return the days of which the master dataset holds events, from Delta's own statistics: nothing is read.

    Raises NotComputedError where there is no event yet.
    """
    if tables.exists(root, EVENTS):
        aggregates = [("min.event_time", "min"), ("max.event_time", "max")]
        rows = tables.files_of(root, EVENTS).group_by(_DAY).aggregate(aggregates).sort_by(_DAY).to_pylist()
        if rows:
            return [DayHeld(row[_DAY], row["min.event_time_min"], row["max.event_time_max"]) for row in rows]
    raise NotComputedError(f"There are no events in {root} yet: run {EVENTS.written_by} first.")


def changed_days(root: str, after: int, until: int) -> list[date]:
    """Return the days that events were added to after one version of the master dataset, up to and with another.

    A log only grows, so these are the days with more events than before, whatever became of its files.
    """
    if after >= until:
        return []
    before, now = (_event_counts(root, version) for version in (after, until))
    return sorted(day for day, count in now.items() if count != before.get(day))


def covers_all_events(root: str, view: Table) -> bool:
    """Say whether no event has come to the master dataset since the view was computed."""
    lineage = tables.lineage_of(root, view)
    return lineage is not None and not changed_days(root, lineage[EVENTS_VERSION], tables.version_of(root, EVENTS))


def update_product_activity(spark: SparkSession, root: str) -> int:
    """Recompute the days that events were added to since; return the version of `events` that the view covers now."""
    version = tables.version_of(root, EVENTS)
    lineage, files = tables.lineage_of(root, PRODUCT_ACTIVITY), tables.event_files(root, version)
    where = "true"
    if lineage is not None:
        days = changed_days(root, lineage[EVENTS_VERSION], version)
        files = [file for file in files if file.day in days]
        where = "event_date IN ({})".format(", ".join(f"DATE '{day}'" for day in days))
    if files:
        touched = activity.product_activity(spark, files)
        commits.replace(touched, as_they_are, root, PRODUCT_ACTIVITY, where, {EVENTS_VERSION: version})
    return version


def update_user_brands(spark: SparkSession, root: str, brands: BrandSettings, rebuild: bool = False) -> int:
    """Merge the events since the last time into the view, or compute it from the first event on.

    Returns the version of `events` it covers now.
    """
    version = tables.version_of(root, EVENTS)
    covers = tables.lineage_of(root, EVENTS, version) or {}
    lineage = {EVENTS_VERSION: version, COVERS: covers, RULE: brands.model_dump(mode="json")}
    before = None if rebuild else tables.lineage_of(root, USER_BRANDS)
    if before is None or before[RULE] != lineage[RULE]:
        files = tables.event_files(root, version)
        combined = recent_brands.combined_brands(spark, files, brands.event_types)
        commits.replace(combined, recent_brands.list_maker(brands.limit), root, USER_BRANDS, "true", lineage)
    elif before[EVENTS_VERSION] < version:
        added = tables.event_files(root, version, before[EVENTS_VERSION])
        lists = recent_brands.brand_lists(spark, added, brands.limit, brands.event_types)
        merged = recent_brands.merge_into(tables.read(spark, root, USER_BRANDS), lists, brands.limit)
        commits.replace(merged, as_they_are, root, USER_BRANDS, "true", lineage)
    return version


def brands_as_of(spark: SparkSession, root: str, brands: BrandSettings, end: datetime) -> DataFrame:
    """Return everybody's recent brands as they stood before `end`. One row per user_id, schemas.USER_BRANDS.

    Where `end` lies past the newest event of all, the merged views have the answer; else the master dataset has it.
    """
    if days_held(root)[-1].last_at < end:
        lists, log = _brand_views(spark, root)
        newest = recent_brands.newest_seen_at(log) if log else None
        if newest is None or newest.timestamp() < end.timestamp():
            return _merged(lists, log, brands.limit)
    files = [file for file in tables.event_files(root) if file.day <= end.astimezone(UTC).date()]
    return recent_brands.brand_lists(spark, files, brands.limit, brands.event_types, end)


def present_brands(spark: SparkSession, root: str, limit: int) -> DataFrame:
    """Merge the batch view and the realtime view. One row per user_id, schemas.USER_BRANDS.

    Raises NotComputedError where there is neither.
    """
    return _merged(*_brand_views(spark, root), limit)


def uncovered_events(root: str) -> tuple[str, ...]:
    """Return what to say where events may be in neither view of recent brands: the stream never sees those of files."""
    _, from_files = tables.event_counts(root)
    if from_files and not covers_all_events(root, USER_BRANDS):
        return (f"Events that came from files are not all in user_brands yet: run {USER_BRANDS.written_by}.",)
    return ()


def _event_counts(root: str, version: int) -> dict[date, int]:
    rows = tables.files_of(root, EVENTS, version).group_by(_DAY).aggregate([("num_records", "sum")]).to_pylist()
    return {row[_DAY]: row["num_records_sum"] for row in rows}


def _brand_views(spark: SparkSession, root: str) -> tuple[DataFrame | None, DataFrame | None]:
    """Return the batch view and the realtime view, as far as they are there."""
    # In this order: what the speed layer has dropped meanwhile, the batch view that is read after its log has.
    log, lists = (
        tables.read(spark, root, view) if tables.exists(root, view) else None for view in (RECENT_BRANDS, USER_BRANDS)
    )
    if log is None and lists is None:
        raise NotComputedError(
            f"No user's brands are known in {root} yet: run {RECENT_BRANDS.written_by} or {USER_BRANDS.written_by}."
        )
    return lists, log


def _merged(lists: DataFrame | None, log: DataFrame | None, limit: int) -> DataFrame:
    if lists is None:
        return recent_brands.merge_brand_lists([log] if log else [], limit)
    cut = lists.withColumn("brands", F.slice("brands", 1, limit))
    return recent_brands.merge_into(cut, log, limit) if log else cut
