"""The counts of any range: taken from `product_activity`, with the days that `events` has changed since counted again.

The batch view has whole days. Delta's log says which of them have more events than the view has counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import Dataset

from lambda_spark import schemas
from lambda_spark.batch.tasks import Span, bucket_spans, count_span, day_span
from lambda_spark.delta import tables
from lambda_spark.delta.coverage import EVENTS_VERSION, usable_lineage
from lambda_spark.delta.event_log import changed_days, count_by_day, event_files
from lambda_spark.delta.file_tasks import EventFile, files_between, map_parts, open_files
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY
from lambda_spark.time_ranges import DAY, MICROSECOND, UTC, TimeRange, is_midnight
from lambda_spark.trends.counting import count_shop
from lambda_spark.trends.windows import INSTANT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The types of columns of schemas.BUCKET_ACTIVITY that aren't whole numbers.
_TYPES = {"bucket_at": INSTANT, "brand": pa.string(), "category_code": pa.string(), "last_price": pa.float64()}

# Counts the buckets of spans: one row per (bucket_at, product_id), schemas.BUCKET_ACTIVITY.
CountSpans = Callable[[Sequence[Span]], pa.Table]


class CountedEvents(NamedTuple):
    """A version of `events` with its files, and what `product_activity` has counted of it.

    `view` has the rows of `product_activity`, `counted` the version of `events` they were computed from; both are None
    if there is no view, or if the log can't say what it was computed from.
    """

    version: int | None
    files: Sequence[EventFile]
    view: Dataset | None = None
    counted: int | None = None


def open_counts(root: str) -> CountedEvents:
    """Open the present version of `events`, and the counts of `product_activity`; there may be neither."""
    view, counted = None, None
    if tables.exists(root, PRODUCT_ACTIVITY):
        view_version = tables.version_of(root, PRODUCT_ACTIVITY)
        lineage = usable_lineage(root, PRODUCT_ACTIVITY, view_version)
        if lineage is not None:
            view, counted = tables.open_dataset(root, PRODUCT_ACTIVITY, view_version), lineage[EVENTS_VERSION]
    # After the view, so that the events hold all that it has counted.
    return events_only(root, tables.find_version(root, EVENTS))._replace(view=view, counted=counted)


def events_only(root: str, version: int | None) -> CountedEvents:
    """Return a version of `events` of which nothing is counted."""
    return CountedEvents(version, event_files(root, version) if version is not None else ())


def bucket_counts(
    count: CountSpans, root: str, events: CountedEvents, span: TimeRange, size: timedelta, columns: Sequence[str]
) -> pa.Table:
    """Count the buckets of a range: from the batch view if it has them, the rest by `count`.

    One row per (bucket_at, product_id); `columns` of schemas.BUCKET_ACTIVITY after `bucket_at`.
    """
    names = ["bucket_at", *columns]
    if events.view is None or size != DAY or not is_midnight(span.start):
        return _counted(count, bucket_spans(events.files, span, size), names)
    stale = _stale_days(root, events, span)
    kept = daily_counts(events.view, span, columns)
    if not stale:
        return kept
    starts = pa.array([day_span((), day).range.start for day in stale], INSTANT)
    recount = [day_span(events.files, day) for day in stale]
    recount = [each._replace(range=TimeRange(each.range.start, min(each.range.end, span.end))) for each in recount]
    recounted = _counted(count, [each for each in recount if each.files], names)
    current = kept.filter(~pc.field("bucket_at").isin(starts))
    # In one piece: Spark makes no rows of a table that begins with an empty chunk.
    return pa.concat_tables([current, recounted.cast(kept.schema)]).combine_chunks()


def daily_counts(view: Dataset, span: TimeRange, columns: Sequence[str]) -> pa.Table:
    """Read the batch view's counts of whole days. One row per (bucket_at, product_id)."""
    day = pc.field("event_date")
    in_span = (day >= span.start.astimezone(UTC).date()) & (day < span.end.astimezone(UTC).date())
    return with_bucket_at(view.to_table(["event_date", *columns], filter=in_span)).select(["bucket_at", *columns])


def with_bucket_at(daily: pa.Table) -> pa.Table:
    """Add the start of the day to rows of product_activity."""
    return daily.append_column("bucket_at", daily["event_date"].cast(pa.timestamp("us")).cast(INSTANT))


def shop_counts(events: CountedEvents, span: TimeRange, size: timedelta) -> list[int]:
    """Count the events of the whole shop in each bucket of a range, in order."""
    first, last = _days_of(span)
    if size == DAY and is_midnight(span.start):
        per_day = count_by_day(files_between(events.files, first, last))
        return [per_day.get(first + number * DAY, 0) for number in range((span.end - span.start) // DAY)]
    files = files_between(events.files, first, last)
    return count_shop(open_files(files), span, size) if files else [0] * ((span.end - span.start) // size)


def spark_counter(spark: SparkSession) -> CountSpans:
    """Return a function that counts spans in Spark's tasks."""
    return lambda spans: map_parts(spark, spans, count_span, schemas.BUCKET_ACTIVITY).toArrow()


def count_here(spans: Sequence[Span]) -> pa.Table:
    """Count at least one span in this process."""
    return pa.concat_tables(map(count_span, spans))


def _counted(count: CountSpans, spans: Sequence[Span], names: Sequence[str]) -> pa.Table:
    if spans:
        return count(spans).select(names)
    return pa.schema([(name, _TYPES.get(name, pa.int64())) for name in names]).empty_table()


def _stale_days(root: str, events: CountedEvents, span: TimeRange) -> list[date]:
    """Return the days of a range that the view lacks events of, and the last day if the range ends within it."""
    days = set[date]()
    if events.version is not None and events.counted is not None:
        days.update(changed_days(root, events.counted, events.version))
    first, last = _days_of(span)
    if not is_midnight(span.end):
        days.add(last)
    return sorted(day for day in days if first <= day <= last)


def _days_of(span: TimeRange) -> tuple[date, date]:
    first, last = (instant.astimezone(UTC).date() for instant in (span.start, span.end - MICROSECOND))
    return first, last
