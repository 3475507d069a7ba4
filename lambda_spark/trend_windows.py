"""The windows of the batch view `trends`: which are asked for, computed, stored, and stale."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, Row, SparkSession

from lambda_spark import activity, commits, tables, views
from lambda_spark.settings import TrendSettings
from lambda_spark.tables import PRODUCT_ACTIVITY, TRENDS
from lambda_spark.time_ranges import (
    DAY,
    UTC,
    Request,
    TimeRange,
    bucket_name,
    check_held,
    check_range,
    default_request,
    default_windows,
    parse_bucket,
)
from lambda_spark.trends import TrendRule, trends
from lambda_spark.window_counts import INSTANT, columns_read


class Answer(NamedTuple):
    """A request, and the SQL condition of the stored rows that answer it."""

    request: Request
    where: str


def resolve_request(root: str, settings: TrendSettings, asked: TimeRange | None) -> Request:
    """Return the range and bucket to answer: those asked for, or the default.

    Raises TimeRangeError for a range that cannot be answered, NotComputedError where there are no events.
    """
    days, bucket = views.days_held(root), bucket_name(parse_bucket(settings.bucket))
    if asked is None:
        return default_request(days, settings.days, bucket)
    notes = check_held(asked, days)
    return Request(check_range(asked, bucket), bucket, notes)


def stored_trends(spark: SparkSession, root: str, request: Request) -> DataFrame:
    """Return the stored rows of a window, schemas.TRENDS; none where it has not been computed."""
    return tables.read(spark, root, TRENDS).where(_condition([request.range], request.bucket))


def best_trends(root: str, request: Request, count: int) -> list[Row]:
    """Read the best of the stored trends of a window, by rank, without Spark. Columns as schemas.TRENDS."""
    best = f"{_condition([request.range], request.bucket)} AND rank <= {count}"
    return tables.query(root, TRENDS, f"SELECT * FROM trends WHERE {best} ORDER BY rank")


def compute_trends(
    spark: SparkSession, root: str, settings: TrendSettings, windows: Sequence[TimeRange], bucket: str
) -> pa.Table:
    """Compute the trends of windows of one length. Rows as in schemas.TRENDS."""
    span = TimeRange(min(window.start for window in windows), max(window.end for window in windows))
    size, rule = parse_bucket(bucket), trend_rule(settings)
    counts = _activity(spark, root, span, size, columns_read(rule.weights))
    return pa.concat_tables(trends(counts, window, size, bucket, rule) for window in windows)


def is_default_window(root: str, settings: TrendSettings, request: Request) -> bool:
    """Say whether it is one of the windows that `update_trends` keeps up to date."""
    return request.bucket == "day" and request.range in default_windows(views.days_held(root), settings.days)


def replace_trends(spark: SparkSession, root: str, settings: TrendSettings, request: Request) -> None:
    """Compute and store one window; a default one by another rule makes `update_trends` compute all of them again."""
    rows = compute_trends(spark, root, settings, [request.range], request.bucket)
    before = tables.lineage_of(root, TRENDS)
    is_odd = is_default_window(root, settings, request) and not (before and before["rule"] == _rule_settings(settings))
    where = _condition([request.range], request.bucket)
    commits.replace_by_few(spark, rows, root, TRENDS, where, {} if is_odd else None)


def update_trends(spark: SparkSession, root: str, settings: TrendSettings, events_version: int) -> None:
    """Compute and store every default window that is not there yet, or whose days have changed since it was."""
    windows = default_windows(views.days_held(root), settings.days)
    lineage = {views.EVENTS_VERSION: events_version, "rule": _rule_settings(settings)}
    before = tables.lineage_of(root, TRENDS)
    if before and before["rule"] == lineage["rule"]:
        changed = views.changed_days(root, before[views.EVENTS_VERSION], events_version)
        present = _stored_windows(root)
        windows = [w for w in windows if w not in present or any(w.start.date() <= d < w.end.date() for d in changed)]
    if windows:
        rows = compute_trends(spark, root, settings, windows, "day")
        commits.replace_by_few(spark, rows, root, TRENDS, _condition(windows, "day"), lineage)


def _rule_settings(settings: TrendSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json")


def trend_rule(settings: TrendSettings) -> TrendRule:
    """Return the rule that the settings ask for."""
    return TrendRule(**settings.model_dump(exclude={"days", "bucket"}))


def _activity(spark: SparkSession, root: str, span: TimeRange, size: timedelta, columns: Sequence[str]) -> pa.Table:
    """Return the counts of a span, one row per (bucket_at, product_id), from the batch view where it has them."""
    is_whole_days = size == DAY and span.start.timestamp() % DAY.total_seconds() == 0
    if is_whole_days and views.covers_all_events(root, PRODUCT_ACTIVITY):
        return daily_counts(root, span, columns)
    counts = activity.bucket_activity(spark, tables.event_files(root), span, size)
    return counts.select("bucket_at", *columns).toArrow()


def daily_counts(root: str, span: TimeRange, columns: Sequence[str]) -> pa.Table:
    """Read the counts of whole days, one row per (bucket_at, product_id), without Spark."""
    day = pc.field("event_date")
    in_span = (day >= span.start.astimezone(UTC).date()) & (day < span.end.astimezone(UTC).date())
    return with_bucket_at(tables.read_arrow(root, PRODUCT_ACTIVITY, ["event_date", *columns], in_span))


def with_bucket_at(daily: pa.Table) -> pa.Table:
    """Give the rows of product_activity the start of their day."""
    return daily.append_column("bucket_at", daily["event_date"].cast(pa.timestamp("us")).cast(INSTANT))


def _stored_windows(root: str) -> set[TimeRange]:
    rows = tables.query(root, TRENDS, "SELECT DISTINCT window_from, window_to FROM trends WHERE bucket = 'day'")
    return {TimeRange(row["window_from"], row["window_to"]) for row in rows}


def window_condition(window: TimeRange) -> str:
    """Return the SQL condition that a row belongs to the window, for Spark and for delta-rs."""
    start, end = (f"TIMESTAMP '{instant.astimezone(UTC).isoformat()}'" for instant in window)
    return f"window_from = {start} AND window_to = {end}"


def _condition(windows: Sequence[TimeRange], bucket: str) -> str:
    return f"bucket = '{bucket}' AND ({' OR '.join(map(window_condition, windows))})"
