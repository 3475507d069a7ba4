"""The batch view `trends`: its stored windows, each with the lineage that shows whether it is current."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from lambda_spark.batch import product_activity
from lambda_spark.batch.bucket_counts import KnownCounts, bucket_counts, known_counts
from lambda_spark.delta import commits, tables
from lambda_spark.delta.coverage import EVENTS_VERSION, RULE, is_in_log
from lambda_spark.delta.event_log import changed_days, event_days
from lambda_spark.delta.partitions import WINDOW, window_key
from lambda_spark.delta.tables import TRENDS, WINDOWS
from lambda_spark.schemas import Row
from lambda_spark.serving.snapshot import KnownEvents, known_days
from lambda_spark.settings import TrendSettings
from lambda_spark.time_ranges import Request, TimeRange, default_windows, end_of, parse_bucket, start_of
from lambda_spark.trends.counting import CountSpans
from lambda_spark.trends.score import trend_rule, trends_of
from lambda_spark.trends.windows import columns_read, condition_of

_DAY = "day"


def update_trends(spark: SparkSession, root: str, settings: TrendSettings) -> None:
    """Compute and store the default windows that are missing, of another rule, or of days with new events since."""
    windows, known = default_windows(event_days(root), settings.days), known_counts(root, None)
    keys = [window_key(window, _DAY) for window in windows]
    lineages, rule = tables.window_lineages(root, TRENDS, keys), settings.model_dump(mode="json")
    changed_since = _days_changed_since(root, known.events)

    def is_current(key: str, window: TimeRange) -> bool:
        lineage = lineages.get(key)
        return lineage is not None and lineage[RULE] == rule and _is_unchanged(changed_since(lineage), window)

    stale = [window for key, window in zip(keys, windows, strict=True) if not is_current(key, window)]
    if stale:
        commits.commit_staged(root, _stage(spark, root, settings, stale, _DAY, known, keys))


def replace_trends(spark: SparkSession, root: str, settings: TrendSettings, request: Request) -> None:
    """Compute and store one window."""
    known = known_counts(root, None)
    commits.commit_staged(root, _stage(spark, root, settings, [request.range], request.bucket, known))


def stage_all(spark: SparkSession, root: str, settings: TrendSettings, known: KnownCounts) -> Iterator[commits.Staged]:
    """Compute every default window and each other stored one into files that no reader sees yet."""
    windows = default_windows(known_days(root, known.events), settings.days)
    if windows:
        yield _stage(spark, root, settings, windows, _DAY, known)
    if tables.exists(root, TRENDS):
        for row in tables.query(root, TRENDS, "SELECT DISTINCT window_from, window_to, bucket FROM trends"):
            window = TimeRange(row.window_from, row.window_to)
            if row.bucket != _DAY or window not in windows:
                yield _stage(spark, root, settings, [window], row.bucket, known)


def is_default_window(root: str, settings: TrendSettings, request: Request) -> bool:
    """Return True for a window that `update_trends` keeps current."""
    return request.bucket == _DAY and request.range in default_windows(event_days(root), settings.days)


def current_lineage(root: str, request: Request, known: KnownEvents) -> dict[str, Any] | None:
    """Return the lineage of a stored window; None if it isn't stored or doesn't count all known events of its days."""
    key = window_key(request.range, request.bucket)
    lineage = tables.window_lineages(root, TRENDS, [key]).get(key)
    is_current = lineage and _is_unchanged(_days_changed_since(root, known)(lineage), request.range)
    return lineage if is_current else None


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
    known: KnownCounts,
    before: datetime | None = None,
) -> pa.Table:
    """Compute the trends of windows of one length from known events, or from those before an instant.

    `count` counts what the batch view hasn't. Columns as schemas.TRENDS.
    """
    end = max(window.end for window in windows)
    span = TimeRange(min(window.start for window in windows), min(end, before) if before else end)
    columns = columns_read(trend_rule(settings).weights)
    counts = bucket_counts(count, root, known, span, parse_bucket(bucket), columns)
    return trends_of(counts, settings, windows, bucket)


def _stage(
    spark: SparkSession,
    root: str,
    settings: TrendSettings,
    windows: Sequence[TimeRange],
    bucket: str,
    known: KnownCounts,
    current: Sequence[str] = (),
) -> commits.Staged:
    """Compute windows into files that no reader sees yet; their lineage is also that of the other current windows."""
    rows = compute_trends(product_activity.counter(spark), root, settings, windows, bucket, known)
    keys = [window_key(window, bucket) for window in windows]
    lineage = {
        WINDOWS: list(current or keys),
        EVENTS_VERSION: known.events.version,
        RULE: settings.model_dump(mode="json"),
    }
    return commits.stage_table(spark, rows, root, TRENDS, keys, lineage)


def _days_changed_since(root: str, known: KnownEvents) -> Callable[[dict[str, Any]], set[date] | None]:
    """Return a function of a lineage: the days with other known events since; None if the log is too short to tell."""
    later = set(pc.unique(known.later["event_date"]).to_pylist())

    @cache
    def since(version: int) -> set[date]:
        return later.union(changed_days(root, version, known.version or 0))

    def changed(lineage: dict[str, Any]) -> set[date] | None:
        is_known = known.version is not None and is_in_log(root, lineage)
        return since(lineage[EVENTS_VERSION]) if is_known else None

    return changed


def _is_unchanged(changed: set[date] | None, window: TimeRange) -> bool:
    return changed is not None and not any(start_of(day) < window.end and end_of(day) > window.start for day in changed)
