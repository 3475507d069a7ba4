"""The batch view `trends`: its stored windows, each with the lineage that shows whether it is current."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from lambda_spark.batch.bucket_counts import CountedEvents, CountSpans, bucket_counts, open_counts, spark_counter
from lambda_spark.delta import commits, tables
from lambda_spark.delta.coverage import EVENTS_VERSION, RULE
from lambda_spark.delta.event_log import changed_days, event_days
from lambda_spark.delta.parquet_files import WINDOW, window_key
from lambda_spark.delta.tables import EVENTS, TRENDS, WINDOWS
from lambda_spark.schemas import Row
from lambda_spark.settings import TrendSettings
from lambda_spark.time_ranges import Request, TimeRange, default_windows, end_of, parse_bucket, start_of
from lambda_spark.trends.score import trend_rule, trends_of
from lambda_spark.trends.windows import columns_read, condition_of

# What a window was computed from.
Lineage = dict[str, Any]

_DAY = "day"


def update_trends(spark: SparkSession, root: str, settings: TrendSettings) -> None:
    """Compute and store the default windows that are missing, of another rule, or of days with new events since."""
    windows, counts = default_windows(event_days(root), settings.days), open_counts(root)
    keys, rule = [window_key(window, _DAY) for window in windows], settings.model_dump(mode="json")
    stored, is_current = tables.window_lineages(root, TRENDS, keys), _currency_check(root, counts)
    of_rule = {key: lineage for key, lineage in stored.items() if lineage[RULE] == rule}
    stale = [window for key, window in zip(keys, windows, strict=True) if not is_current(of_rule.get(key), window)]
    if stale:
        commits.commit_staged(root, _stage(spark, root, settings, stale, _DAY, counts, keys))


def replace_trends(spark: SparkSession, root: str, settings: TrendSettings, request: Request) -> None:
    """Compute and store one window."""
    counts = open_counts(root)
    commits.commit_staged(root, _stage(spark, root, settings, [request.range], request.bucket, counts))


def stage_all(
    spark: SparkSession, root: str, settings: TrendSettings, counts: CountedEvents
) -> Iterator[commits.Staged]:
    """Compute every default window and each other stored one into files that no reader sees yet."""
    windows = default_windows(event_days(root, counts.version), settings.days)
    if windows:
        yield _stage(spark, root, settings, windows, _DAY, counts)
    if tables.exists(root, TRENDS):
        for row in tables.query(root, TRENDS, "SELECT DISTINCT window_from, window_to, bucket FROM trends"):
            window = TimeRange(row.window_from, row.window_to)
            if row.bucket != _DAY or window not in windows:
                yield _stage(spark, root, settings, [window], row.bucket, counts)


def is_default_window(root: str, settings: TrendSettings, request: Request) -> bool:
    """Return True for a window that `update_trends` keeps current."""
    return request.bucket == _DAY and request.range in default_windows(event_days(root), settings.days)


def current_lineage(root: str, request: Request, counts: CountedEvents) -> Lineage | None:
    """Return the lineage of a stored window; None if it isn't stored or doesn't count all events of its days."""
    key = window_key(request.range, request.bucket)
    lineage = tables.window_lineages(root, TRENDS, [key]).get(key)
    return lineage if _currency_check(root, counts)(lineage, request.range) else None


def stored_trends(spark: SparkSession, root: str, request: Request) -> DataFrame:
    """Return the stored rows of a window, schemas.TRENDS; none if it isn't stored."""
    # By its other columns: a table of an earlier version has no `window`.
    return commits.read(spark, root, TRENDS).where(condition_of([request.range], request.bucket)).drop(WINDOW)


def best_trends(root: str, request: Request, count: int) -> list[Row]:
    """Return the best stored trends of a window, by rank, without Spark. Columns as schemas.TRENDS."""
    best = f"{condition_of([request.range], request.bucket)} AND rank <= {count}"
    return tables.query(root, TRENDS, f"SELECT * FROM trends WHERE {best} ORDER BY rank")


def compute_trends(
    count: CountSpans,
    root: str,
    settings: TrendSettings,
    windows: Sequence[TimeRange],
    bucket: str,
    counts: CountedEvents,
    before: datetime | None = None,
) -> pa.Table:
    """Compute the trends of windows of one length from known events, or from those before an instant.

    `count` counts what the batch view hasn't. Columns as schemas.TRENDS.
    """
    end = max(window.end for window in windows)
    span = TimeRange(min(window.start for window in windows), min(end, before) if before else end)
    columns = columns_read(trend_rule(settings).weights)
    activity = bucket_counts(count, root, counts, span, parse_bucket(bucket), columns)
    return trends_of(activity, settings, windows, bucket)


def _stage(
    spark: SparkSession,
    root: str,
    settings: TrendSettings,
    windows: Sequence[TimeRange],
    bucket: str,
    counts: CountedEvents,
    current: Sequence[str] = (),
) -> commits.Staged:
    """Compute windows into files that no reader sees yet; their lineage is also that of the other current windows."""
    rows = compute_trends(spark_counter(spark), root, settings, windows, bucket, counts)
    keys = [window_key(window, bucket) for window in windows]
    lineage = {
        WINDOWS: list(current or keys),
        EVENTS_VERSION: counts.version,
        RULE: settings.model_dump(mode="json"),
    }
    return commits.stage_table(spark, rows, root, TRENDS, keys, lineage)


def _currency_check(root: str, counts: CountedEvents) -> Callable[[Lineage | None, TimeRange], bool]:
    """Return a function that returns True if rows with a lineage count all present events of a window."""

    @cache
    def changed_since(version: int) -> list[date] | None:
        is_in_log = tables.has_version(root, EVENTS, version)
        return changed_days(root, version, counts.version or 0) if is_in_log else None

    def is_current(lineage: Lineage | None, window: TimeRange) -> bool:
        days = changed_since(lineage[EVENTS_VERSION]) if lineage and counts.version is not None else None
        return days is not None and not any(start_of(day) < window.end and end_of(day) > window.start for day in days)

    return is_current
