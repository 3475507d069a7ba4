"""The windows of trends: which one is asked for, and the trends of it from all that is known."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from lambda_spark import queries
from lambda_spark.activity import CountSpans
from lambda_spark.merged_activity import KnownCounts, bucket_counts
from lambda_spark.settings import TrendSettings
from lambda_spark.tables import TRENDS
from lambda_spark.time_ranges import (
    UTC,
    DayHeld,
    Request,
    TimeRange,
    bucket_name,
    check_held,
    check_range,
    default_request,
    parse_bucket,
)
from lambda_spark.trends import TrendRule, trends
from lambda_spark.window_counts import columns_read
from lambda_spark.words import Row


def resolve_request(settings: TrendSettings, asked: TimeRange | None, days: Sequence[DayHeld]) -> Request:
    """Return the range and bucket to answer, of the days known: those asked for, or the default.

    Raises TimeRangeError for a range that cannot be answered.
    """
    bucket = bucket_name(parse_bucket(settings.bucket))
    if asked is None:
        return default_request(days, settings.days, bucket)
    return Request(check_range(asked, bucket), bucket, check_held(asked, days))


def best_trends(root: str, request: Request, count: int) -> list[Row]:
    """Read the best of the stored trends of a window, by rank, without Spark. Columns as schemas.TRENDS."""
    best = f"{condition_of([request.range], request.bucket)} AND rank <= {count}"
    return queries.query(root, TRENDS, f"SELECT * FROM trends WHERE {best} ORDER BY rank")


def compute_trends(
    count: CountSpans,
    root: str,
    settings: TrendSettings,
    windows: Sequence[TimeRange],
    bucket: str,
    known: KnownCounts,
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


def trends_of(counts: pa.Table, settings: TrendSettings, windows: Sequence[TimeRange], bucket: str) -> pa.Table:
    """Compute the trends of windows from counts, one row per (bucket_at, product_id). Rows as in schemas.TRENDS."""
    size, rule = parse_bucket(bucket), trend_rule(settings)
    return pa.concat_tables(trends(counts, window, size, bucket, rule) for window in windows)


def trend_rule(settings: TrendSettings) -> TrendRule:
    """Return the rule that the settings ask for."""
    return TrendRule(**settings.model_dump(exclude={"days", "bucket"}))


def window_condition(window: TimeRange) -> str:
    """Return the SQL condition that a row belongs to the window, for Spark and for delta-rs."""
    start, end = (f"TIMESTAMP '{instant.astimezone(UTC).isoformat()}'" for instant in window)
    return f"window_from = {start} AND window_to = {end}"


def condition_of(windows: Sequence[TimeRange], bucket: str) -> str:
    """Return the SQL condition of the rows of windows with that bucket."""
    return f"bucket = '{bucket}' AND ({' OR '.join(map(window_condition, windows))})"
