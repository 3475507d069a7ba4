"""The true merge of the Lambda architecture: counts of the batch view up to its boundary, and live ones after it.

The batch view has whole days. A day that it does not hold all known events of is counted again: where only
`live_activity` has more, just the products that it names. Distinct users and the newest brand of both sides together
cannot be had from two counts, so these products are counted of their events, by the same rule.

How many events the whole shop had in each bucket: from events that are known, without Spark.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import Dataset

from lambda_spark import engine
from lambda_spark.delta import tables
from lambda_spark.delta.coverage import EVENTS_VERSION, usable_lineage
from lambda_spark.delta.event_log import changed_days
from lambda_spark.delta.tables import PRODUCT_ACTIVITY
from lambda_spark.serving.snapshot import KnownEvents, LiveView, known_events, select_within
from lambda_spark.time_ranges import DAY, MICROSECOND, UTC, TimeRange, is_midnight, micros
from lambda_spark.trends import counting
from lambda_spark.trends.counting import CountSpans, Span
from lambda_spark.trends.windows import INSTANT


class KnownCounts(NamedTuple):
    """The events that are known, and what of them `product_activity` has counted.

    `view` are its rows, and `counted` is the version of `events` that it was computed from; None where it is not there.
    """

    events: KnownEvents
    view: Dataset | None
    counted: int | None


def known_counts(root: str, live: LiveView | None) -> KnownCounts:
    """Return what is known now, by the master dataset alone or with the realtime views, and what of it is counted."""
    if not tables.exists(root, PRODUCT_ACTIVITY):
        return KnownCounts(known_events(root, live), None, None)
    version = tables.version_of(root, PRODUCT_ACTIVITY)
    lineage = usable_lineage(root, PRODUCT_ACTIVITY, version)
    counted = lineage[EVENTS_VERSION] if lineage is not None else None
    view = tables.open_dataset(root, PRODUCT_ACTIVITY, version)
    return KnownCounts(known_events(root, live, counted), view, counted)


def bucket_counts(
    count: CountSpans, root: str, known: KnownCounts, span: TimeRange, size: timedelta, columns: Sequence[str]
) -> pa.Table:
    """Count a span of all known events, one row per (bucket_at, product_id), from the batch view as far as it has them.

    The rest is counted by `count`.     Columns are `bucket_at` and those asked for, of schemas.BUCKET_ACTIVITY.
    """
    events, is_whole_days = known.events, size == DAY and is_midnight(span.start)
    if not is_whole_days or known.view is None or known.counted is None:
        return count(counting.bucket_spans(events.files, span, size, events.later)).select(["bucket_at", *columns])
    spans = [
        _until(span.end, counting.day_span(events.files, day, events.later, is_touched_only))
        for day, is_touched_only in _stale_days(root, known, span).items()
    ]
    kept = daily_counts(known.view, span, columns)
    if not spans:
        return kept
    counted = count(spans).select(["bucket_at", *columns])
    recounted = [each.range.start for each in spans if not each.is_touched_only]
    kept = kept.filter(~pc.field("bucket_at").isin(pa.array(recounted, INSTANT)))
    others = engine.run_sql(
        engine.connect().cursor(),
        "SELECT kept.* FROM kept ANTI JOIN counted USING (bucket_at, product_id)",
        kept=kept,
        counted=counted,
    )
    return pa.concat_tables([others, counted.select(others.column_names).cast(others.schema)])


def daily_counts(view: Dataset, span: TimeRange, columns: Sequence[str]) -> pa.Table:
    """Read the batch view's counts of whole days, one row per (bucket_at, product_id), without Spark."""
    day = pc.field("event_date")
    in_span = (day >= span.start.astimezone(UTC).date()) & (day < span.end.astimezone(UTC).date())
    return with_bucket_at(view.to_table(["event_date", *columns], filter=in_span)).select(["bucket_at", *columns])


def with_bucket_at(daily: pa.Table) -> pa.Table:
    """Give the rows of product_activity the start of their day."""
    return daily.append_column("bucket_at", daily["event_date"].cast(pa.timestamp("us")).cast(INSTANT))


def _stale_days(root: str, known: KnownCounts, span: TimeRange) -> dict[date, bool]:
    """Return the days of a span to count again, each with whether only the products that came later are to be."""
    days = dict.fromkeys(pc.unique(known.events.later["event_date"]).to_pylist(), True)
    if known.counted is not None and known.events.version is not None:
        days |= dict.fromkeys(changed_days(root, known.counted, known.events.version), False)
    if not is_midnight(span.end):
        days[span.end.astimezone(UTC).date()] = False
    first, last = (instant.astimezone(UTC).date() for instant in (span.start, span.end - MICROSECOND))
    return {day: is_touched_only for day, is_touched_only in days.items() if first <= day <= last}


def _until(end: datetime, span: Span) -> Span:
    return span._replace(range=TimeRange(span.range.start, min(span.range.end, end)))


def shop_totals(known: KnownEvents, time_range: TimeRange, size: timedelta) -> list[int]:
    """Count the events of each bucket of a range, in order."""
    events, sources = select_within(known, time_range, "event_time")
    sql = f"""
        SELECT CAST((epoch_us(event_time) - {micros(time_range.start)}) // {size // MICROSECOND} AS BIGINT) AS place,
            count(*) AS total
        FROM ({events}) GROUP BY place
    """
    counted = engine.run_sql(engine.connect().cursor(), sql, **sources)
    totals = [0] * ((time_range.end - time_range.start) // size)
    for place, total in zip(counted["place"].to_pylist(), counted["total"].to_pylist(), strict=True):
        totals[place] = total
    return totals
