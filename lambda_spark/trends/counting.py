"""What happened to each product in each bucket of time: the counts that trends are made of.

DuckDB counts in Spark's tasks, straight from the files of the master dataset. Each task has a stretch of time of its
own, so that distinct users can be counted without a shuffle (docs/adr/0012-batch-by-files.md).
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import Dataset

from lambda_spark import engine
from lambda_spark.delta.event_log import EventFile, open_files
from lambda_spark.engine import brand_sql
from lambda_spark.schemas import COUNT_COLUMNS, COUNTED_COLUMNS
from lambda_spark.time_ranges import DAY, MICROSECOND, UTC, TimeRange, end_of, micros, start_of

_CATEGORY = "CASE WHEN lower(category_code) <> 'unknown' THEN category_code END"

# The folder of a file, and no column of it, says the day.
_COUNTED = [name for name in COUNTED_COLUMNS if name != "event_date"]


class Span(NamedTuple):
    """A stretch of whole buckets of that size, the files that may hold events of it, and events that are in none.

    `is_touched_only` leaves out the products that `later`, rows as live_events.LIVE_EVENTS, says nothing of;
    `product_id` all others than that.
    """

    range: TimeRange
    size: timedelta
    files: Sequence[EventFile]
    later: pa.Table | None = None
    is_touched_only: bool = False
    product_id: int | None = None


# Counts the buckets of spans: one row per (bucket_at, product_id), schemas.BUCKET_ACTIVITY.
CountSpans = Callable[[Sequence[Span]], pa.Table]


def bucket_spans(
    files: Sequence[EventFile], time_range: TimeRange, size: timedelta, later: pa.Table | None = None
) -> list[Span]:
    """Divide a range into spans, to be counted per bucket from the range's start on."""
    step = max(DAY // size, 1) * size
    steps = range(-((time_range.start - time_range.end) // step))
    ranges = [
        TimeRange(time_range.start + n * step, min(time_range.start + (n + 1) * step, time_range.end)) for n in steps
    ]
    return [_span(files, each, size, later) for each in ranges]


def count_here(spans: Sequence[Span]) -> pa.Table:
    """Count the buckets of at least one span here, in this process. One row per (bucket_at, product_id)."""
    return pa.concat_tables(count_span(span, "bucket_at") for span in with_events(spans))


def day_span(
    files: Sequence[EventFile], day: date, later: pa.Table | None = None, is_touched_only: bool = False
) -> Span:
    """Return the span that is a day."""
    span = _span(files, TimeRange(start_of(day), end_of(day)), DAY, later)
    return span._replace(is_touched_only=is_touched_only)


def with_events(spans: Sequence[Span]) -> list[Span]:
    """Return the spans that have any events."""
    return [span for span in spans if span.files or span.later]


def _span(files: Sequence[EventFile], time_range: TimeRange, size: timedelta, later: pa.Table | None) -> Span:
    start, end = (instant.astimezone(UTC) for instant in time_range)
    own = [file for file in files if start.date() <= file.day <= end.date()]
    return Span(TimeRange(start, end), size, own, _within(later, start.date(), end.date()))


def _within(later: pa.Table | None, first: date, last: date) -> pa.Table | None:
    """Return the events of some days, None where there are none."""
    if later is None:
        return None
    day = pc.field("event_date")
    found = later.filter((day >= first) & (day <= last))
    return found if len(found) else None


def _sources(span: Span) -> tuple[str, dict[str, pa.Table | Dataset]]:
    """Return SQL of all events of a span's days, and the relations that it reads."""
    relations: dict[str, pa.Table | Dataset] = {}
    columns, parts = ", ".join(_COUNTED), []
    asked = "true" if span.product_id is None else f"product_id = {span.product_id}"
    if span.files:
        relations["stored"] = open_files(span.files)
        touched = "product_id IN (SELECT product_id FROM later)" if span.is_touched_only else "true"
        parts.append(f"SELECT {columns} FROM stored WHERE {asked} AND {touched}")
    if span.later is not None:
        relations["later"] = span.later
        parts.append(f"SELECT {columns} FROM later WHERE {asked}")
    return " UNION ALL ".join(parts), relations


def count_span(span: Span, bucket: str) -> pa.Table:
    """Count a span. One row per (bucket, product_id); `bucket` is the SQL of its column, made of `bucket_at`.

    A product has few combinations of brand, category and price: the newest of each is looked for among these, by their
    newest time, and not among all events.
    """
    kinds = ", ".join(f"count(*) FILTER (event_type = '{name}') AS {column}" for name, column in COUNT_COLUMNS.items())
    events, relations = _sources(span)
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in (*COUNT_COLUMNS.values(), "event_count"))
    sql = f"""
        WITH in_span AS NOT MATERIALIZED (
            SELECT *, (epoch_us(event_time) - {micros(span.range.start)}) // {span.size // MICROSECOND} AS place
            FROM ({events})
            WHERE event_time >= TIMESTAMPTZ '{span.range.start}' AND event_time < TIMESTAMPTZ '{span.range.end}'
        ), combinations AS (
            SELECT place, product_id, brand, category_code, price, max(event_time) AS newest, {kinds},
                count(*) AS event_count
            FROM in_span GROUP BY ALL
        ), products AS (
            SELECT place, product_id, {_newest("brand")}, {_newest("category_code")}, {sums}, {_newest("price")}
            FROM (SELECT * REPLACE ({brand_sql("brand")} AS brand, {_CATEGORY} AS category_code)
                FROM combinations)
            GROUP BY ALL
        ), users AS (
            SELECT place, product_id, count(*) AS user_count
            FROM (SELECT DISTINCT place, product_id, user_id FROM in_span) GROUP BY ALL
        )
        SELECT {bucket}, product_id, brand, category_code, {", ".join(COUNT_COLUMNS.values())}, event_count, user_count,
            price AS last_price
        FROM (SELECT *, make_timestamptz(place * {span.size // MICROSECOND} + {micros(span.range.start)}) AS bucket_at
            FROM products JOIN users USING (place, product_id))
    """
    return engine.run_sql(engine.connect().cursor(), sql, **relations)


def _newest(column: str) -> str:
    """SQL of the newest value that is there; of several at one time the largest, so that a rerun gives the same."""
    return f"max_by({column}, (newest, {column})) FILTER ({column} IS NOT NULL) AS {column}"
