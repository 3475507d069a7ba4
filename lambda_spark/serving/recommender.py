"""Recommendations: the rule of `recommendations` applied to the trends and histories of a snapshot, as of a moment.

Trends are few and users many, so each task gets all candidates and processes its users, a batch of them at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from lambda_spark import engine
from lambda_spark.batch import trends
from lambda_spark.batch.bucket_counts import CountedEvents, events_only, spark_counter
from lambda_spark.batch.tasks import read_excluded
from lambda_spark.delta import tables
from lambda_spark.delta.coverage import RULE
from lambda_spark.delta.event_log import event_days
from lambda_spark.delta.file_tasks import EventSlice, open_files
from lambda_spark.delta.parquet_files import window_key
from lambda_spark.delta.tables import TRENDS, USER_BRANDS, WINDOWS
from lambda_spark.errors import UnknownUserError
from lambda_spark.recommendations.rule import RecommendationRule, candidates_of, recommend_to
from lambda_spark.schemas import Row
from lambda_spark.serving import histories
from lambda_spark.serving.snapshot import Boundary, Snapshot, open_snapshot
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import Request, TimeRange, format_instant
from lambda_spark.trends.windows import resolve_request, window_condition

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lambda_spark.delta.parquet_files import RowBuilder


class Query(NamedTuple):
    """A window and its bucket, the moment as of which it is answered, and the users; none means all.

    `is_from_views` says whether the present views of brands have the answer.
    """

    request: Request
    as_of: datetime
    users: Sequence[int] = ()
    is_from_views: bool = False

    def where(self) -> str:
        """Return the SQL condition of the stored rows that answer it."""
        return window_condition(self.request.range)

    def seen_range(self) -> TimeRange:
        """Return the part of the window before the moment."""
        return TimeRange(self.request.range.start, min(self.request.range.end, self.as_of))


class Result(NamedTuple):
    """A query, how far its answer reaches, and the answer's rows for named users; those for all users are stored."""

    query: Query
    upto: Boundary
    rows: Sequence[Row] | None = None


class Plan(NamedTuple):
    """How a query is computed: rows of (user_id, brands), and what builds the recommendations of them."""

    brands: DataFrame
    build_rows: RowBuilder


def plan_query(
    settings: Settings, snapshot: Snapshot, asked: TimeRange | None, as_of: datetime | None, users: Sequence[int]
) -> Query:
    """Return the query with its defaults: the last complete days, as of the window's end.

    Its notes say what is missing. Raises TimeRangeError for a range that cannot be answered, NotComputedError if there
    are no events.
    """
    root = settings.data_root
    request = resolve_request(settings.trends, asked, event_days(root, snapshot.counts.version, as_of))
    notes = list(request.notes)
    if as_of and as_of < request.range.end:
        notes.insert(0, f"Answered as of {format_instant(as_of)}: what came after it is not counted.")
    moment = as_of or request.range.end
    is_present = histories.is_present(root, snapshot, moment)
    is_from_views = is_present and histories.views_cover(root, settings.brands, snapshot)
    if is_present and not is_from_views:
        notes.append(f"The views of brands do not hold all events: run {USER_BRANDS.written_by} to be answered faster.")
    return Query(request._replace(notes=tuple(notes)), moment, users, is_from_views)


def plan_recommendations(spark: SparkSession, settings: Settings, query: Query, snapshot: Snapshot) -> Plan:
    """Return how to compute the recommendations, from the views as far as they hold the snapshot's events.

    Raises UnknownUserError.
    """
    if _stored_trends(settings, query, snapshot.counts):
        trending = trends.stored_trends(spark, settings.data_root, query.request).toArrow()
    else:
        trending = _computed_trends(spark, settings, query, snapshot.counts)
    return _plan(settings, query, snapshot.counts, _brands(spark, settings, query, snapshot), trending)


def plan_from_events(
    spark: SparkSession, settings: Settings, query: Query, version: int | None, events: Sequence[EventSlice]
) -> Plan:
    """Return how to compute the same without any view: counts from a version of `events`, brands from slices of it."""
    counts = events_only(settings.data_root, version)
    brands = histories.computed_brands(spark, settings.brands, events, query.as_of)
    return _plan(settings, query, counts, brands, _computed_trends(spark, settings, query, counts))


def query_lineage(settings: Settings, query: Query, snapshot: Snapshot) -> dict[str, Any]:
    """Return all that an answer follows from, so that it can be computed again: query, rules and snapshot."""
    rules = settings.model_dump(mode="json", include={"trends", "brands", "recommendations"})
    stored = _stored_trends(settings, query, snapshot.counts)
    return {
        WINDOWS: [window_key(query.request.range)],
        "window": [instant.isoformat() for instant in query.request.range],
        "bucket": query.request.bucket,
        "as_of": query.as_of.isoformat(),
        "snapshot": snapshot_lineage(query, snapshot),
        "rules": {**rules, "trends": stored[RULE]} if stored else rules,
        "trends_version": tables.version_of(settings.data_root, TRENDS) if stored else None,
    }


def snapshot_lineage(query: Query, snapshot: Snapshot) -> dict[str, Any]:
    """Return what an answer is computed from: `events` alone are behind both views together, if ingest is."""
    return snapshot.lineage(snapshot.reached if query.is_from_views else snapshot.stored)


def query_of(lineage: Mapping[str, Any]) -> Query:
    """Return the query that stored rows answer, by their commit's lineage."""
    window, as_of = TimeRange(*map(datetime.fromisoformat, lineage["window"])), datetime.fromisoformat(lineage["as_of"])
    return Query(Request(window, lineage["bucket"]), as_of)


def present_brands(spark: SparkSession, settings: Settings, query: Query) -> DataFrame:
    """Return everybody's recent brands as of the query's moment. One row per user_id, schemas.USER_BRANDS."""
    return _brands(spark, settings, query, open_snapshot(settings.data_root))


def row_builder(candidates: pa.Table, excluded: pa.Table, rule: RecommendationRule) -> RowBuilder:
    """Return what recommends the candidates of one window to users, rows of (user_id, brands).

    `excluded` has one row per (user_id, product_id). One row per (user_id, rank), columns as schemas.RECOMMENDATIONS.
    """

    def build(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table]]:
        for batch in batches:
            yield (recommend_to(batch, candidates, excluded, rule),)

    return build


def _plan(settings: Settings, query: Query, counts: CountedEvents, brands: DataFrame, trending: pa.Table) -> Plan:
    if query.users:
        brands = brands.where(f"user_id IN ({', '.join(map(str, query.users))})")
        _check_users(counts, brands, query.users)
    rule = RecommendationRule(**settings.recommendations.model_dump())
    candidates = candidates_of(trending, rule)
    excluded = read_excluded(counts.files, query.seen_range(), candidates["product_id"], rule.leave_out)
    return Plan(brands.select("user_id", "brands"), row_builder(candidates, excluded, rule))


def _brands(spark: SparkSession, settings: Settings, query: Query, snapshot: Snapshot) -> DataFrame:
    if query.is_from_views:
        return histories.merged_views(spark, settings.data_root, settings.brands.limit, snapshot)
    return histories.computed_brands(spark, settings.brands, [EventSlice(snapshot.counts.files)], query.as_of)


def _computed_trends(spark: SparkSession, settings: Settings, query: Query, counts: CountedEvents) -> pa.Table:
    """Compute the trends of the window as of the moment, schemas.TRENDS."""
    request, count = query.request, spark_counter(spark)
    return trends.compute_trends(
        count, settings.data_root, settings.trends, [request.range], request.bucket, counts, query.as_of
    )


def _stored_trends(settings: Settings, query: Query, counts: CountedEvents) -> dict[str, Any] | None:
    """Return the lineage of the window's stored trends if they are of all the events counted; else None."""
    if query.as_of < query.request.range.end:
        return None
    return trends.current_lineage(settings.data_root, query.request, counts)


def _check_users(counts: CountedEvents, brands: DataFrame, users: Sequence[int]) -> None:
    """Raise UnknownUserError if neither an event nor a list of brands is of one of the users."""
    sql = f"SELECT DISTINCT user_id FROM events WHERE user_id IN ({', '.join(map(str, users))})"
    known = engine.query(sql, events=open_files(counts.files))["user_id"].to_pylist() if counts.files else []
    if set(users) - set(known):
        known += [row.user_id for row in brands.select("user_id").collect()]
    if unknown := [user for user in users if user not in known]:
        raise UnknownUserError(
            f"No event names the user {', '.join(map(str, unknown))}: choose one that `events` holds."
        )
