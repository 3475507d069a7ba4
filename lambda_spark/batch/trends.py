"""The stored windows of the batch view `trends`: which there are, which are stale, and how they are kept up to date."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from lambda_spark.batch.bucket_counts import CountedEvents, CountSpans, bucket_counts, open_counts, spark_counter
from lambda_spark.delta import commits, tables
from lambda_spark.delta.coverage import EVENTS_VERSION, RULE, is_in_log
from lambda_spark.delta.event_log import changed_days, event_days
from lambda_spark.delta.tables import TRENDS
from lambda_spark.schemas import Row
from lambda_spark.settings import TrendSettings
from lambda_spark.time_ranges import Request, TimeRange, default_windows, end_of, parse_bucket, start_of
from lambda_spark.trends.score import trend_rule, trends_of
from lambda_spark.trends.windows import columns_read, condition_of


def best_trends(root: str, request: Request, count: int) -> list[Row]:
    """Read the best of the stored trends of a window, by rank, without Spark. Columns as schemas.TRENDS."""
    best = f"{condition_of([request.range], request.bucket)} AND rank <= {count}"
    return tables.query(root, TRENDS, f"SELECT * FROM trends WHERE {best} ORDER BY rank")


def compute_trends(
    count: CountSpans,
    root: str,
    settings: TrendSettings,
    windows: Sequence[TimeRange],
    bucket: str,
    known: CountedEvents,
    before: datetime | None = None,
) -> pa.Table:
    """Compute the trends of windows of one length from known events, those before an instant where one is given.

    `count` counts what the batch view has not. Rows as in schemas.TRENDS.
    """
    end = max(window.end for window in windows)
    span = TimeRange(min(window.start for window in windows), min(end, before) if before else end)
    columns = columns_read(trend_rule(settings).weights)
    counts = bucket_counts(count, root, known, span, parse_bucket(bucket), columns)
    return trends_of(counts, settings, windows, bucket)


# The keys of the lineage of one window that was asked for: which, and whether it is a default one by another rule.
_ASKED, _IS_ODD = "asked", "is_odd"


def stored_trends(spark: SparkSession, root: str, request: Request) -> DataFrame:
    """Return the stored rows of a window, schemas.TRENDS; none where it has not been computed."""
    return commits.read(spark, root, TRENDS).where(condition_of([request.range], request.bucket))


def is_default_window(root: str, settings: TrendSettings, request: Request) -> bool:
    """Say whether it is one of the windows that `update_trends` keeps up to date."""
    return request.bucket == "day" and request.range in default_windows(event_days(root), settings.days)


def current_lineage(
    root: str, settings: TrendSettings, request: Request, known: CountedEvents
) -> dict[str, Any] | None:
    """Return what a stored window was computed from, if that is all that is known of it; None where it is not there."""
    lineage = _window_lineage(root, settings, request)
    if lineage is None or known.version is None or not is_in_log(root, lineage):
        return None
    days = changed_days(root, lineage[EVENTS_VERSION], known.version)
    return None if any(_is_within(day, request.range) for day in days) else lineage


def replace_trends(spark: SparkSession, root: str, settings: TrendSettings, request: Request) -> None:
    """Compute and store one window; a default one by another rule makes `update_trends` compute all of them again."""
    commits.commit_staged(root, _stage_one(spark, root, settings, request, open_counts(root)))


def update_trends(spark: SparkSession, root: str, settings: TrendSettings) -> None:
    """Compute and store every default window that is not there yet, or whose days have changed since it was."""
    windows, known = default_windows(event_days(root), settings.days), open_counts(root)
    before = _default_lineage(root)
    if before and before[RULE] == settings.model_dump(mode="json") and is_in_log(root, before):
        changed = changed_days(root, before[EVENTS_VERSION], known.version or 0)
        present = _stored_windows(root)
        windows = [w for w in windows if w not in present or any(_is_within(day, w) for day in changed)]
    if windows:
        commits.commit_staged(root, _stage_default(spark, root, settings, windows, known))


def stage_all(
    spark: SparkSession, root: str, settings: TrendSettings, known: CountedEvents
) -> Iterator[commits.Staged]:
    """Compute every default window, and each other one that is stored, beside the rows that they will replace."""
    windows = default_windows(event_days(root, known.version), settings.days)
    if windows:
        yield _stage_default(spark, root, settings, windows, known)
    if tables.exists(root, TRENDS):
        stored = tables.query(root, TRENDS, "SELECT DISTINCT window_from, window_to, bucket FROM trends")
        asked = [Request(TimeRange(row.window_from, row.window_to), row.bucket) for row in stored]
        for request in asked:
            if request.bucket != "day" or request.range not in windows:
                yield _stage_one(spark, root, settings, request, known)


def _stage_default(
    spark: SparkSession, root: str, settings: TrendSettings, windows: Sequence[TimeRange], known: CountedEvents
) -> commits.Staged:
    rows = compute_trends(spark_counter(spark), root, settings, windows, "day", known)
    lineage = {EVENTS_VERSION: known.version, RULE: settings.model_dump(mode="json")}
    return commits.stage_table(spark, rows, root, TRENDS, condition_of(windows, "day"), lineage)


def _stage_one(
    spark: SparkSession, root: str, settings: TrendSettings, request: Request, known: CountedEvents
) -> commits.Staged:
    rows = compute_trends(spark_counter(spark), root, settings, [request.range], request.bucket, known)
    before, rule = _default_lineage(root), settings.model_dump(mode="json")
    is_odd = is_default_window(root, settings, request) and not (before and before[RULE] == rule)
    where = condition_of([request.range], request.bucket)
    lineage = {EVENTS_VERSION: known.version, RULE: rule, _ASKED: where, _IS_ODD: is_odd}
    return commits.stage_table(spark, rows, root, TRENDS, where, lineage)


def _default_lineage(root: str) -> dict[str, Any] | None:
    """Return what the default windows were last computed from; None where one has been by another rule since."""
    for lineage in tables.lineages_of(root, TRENDS):
        if _ASKED not in lineage:
            return lineage
        if lineage[_IS_ODD]:
            return None
    return None


def _window_lineage(root: str, settings: TrendSettings, request: Request) -> dict[str, Any] | None:
    """Return what a stored window was computed from, and by which rule; None where it is not stored."""
    where = condition_of([request.range], request.bucket)
    is_kept = is_default_window(root, settings, request) and request.range in _stored_windows(root)
    told = tables.lineages_of(root, TRENDS)
    return next((each for each in told if each.get(_ASKED) == where or (is_kept and _ASKED not in each)), None)


def _is_within(day: date, window: TimeRange) -> bool:
    return start_of(day) < window.end and end_of(day) > window.start


def _stored_windows(root: str) -> set[TimeRange]:
    if not tables.exists(root, TRENDS):
        return set()
    rows = tables.query(root, TRENDS, "SELECT DISTINCT window_from, window_to FROM trends WHERE bucket = 'day'")
    return {TimeRange(row.window_from, row.window_to) for row in rows}
