"""The serving layer: the recommendation rule applied to what both layers know, as of a moment.

Recommendations for all users, in Spark.

Trends are few and users many, so each task gets all candidates and goes through its users, a batch of them at a time.

What users have met in a window, and is left out of their recommendations: read from known events without Spark.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import engine
from lambda_spark.batch import product_activity, trends
from lambda_spark.batch.bucket_counts import KnownCounts, known_counts
from lambda_spark.batch.trends import compute_trends
from lambda_spark.delta import commits, tables
from lambda_spark.delta.coverage import RULE
from lambda_spark.delta.parquet_files import RowBuilder
from lambda_spark.delta.tables import EVENTS, TRENDS, USER_BRANDS
from lambda_spark.errors import UnknownUserError
from lambda_spark.recommendations.rule import EXCLUDED_SQL, RecommendationRule, candidates_of, recommend_to
from lambda_spark.schemas import COUNTED_COLUMNS
from lambda_spark.serving.histories import brands_as_of, computed_brands, is_present, views_cover
from lambda_spark.serving.snapshot import (
    Boundary,
    KnownEvents,
    LiveView,
    boundary,
    known_days,
    open_live,
    select_within,
)
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import Request, TimeRange, format_instant
from lambda_spark.trends import windows


class Query(NamedTuple):
    """What is asked: the window and its bucket, as of which moment, and of which users; none means all."""

    request: Request
    as_of: datetime
    users: Sequence[int] = ()

    def where(self) -> str:
        """Return the SQL condition of the rows that answer it."""
        window = windows.window_condition(self.request.range)
        return f"{window} AND user_id IN ({', '.join(map(str, self.users))})" if self.users else window

    def known_range(self) -> TimeRange:
        """Return the part of the window that lies before the moment."""
        return TimeRange(self.request.range.start, min(self.request.range.end, self.as_of))


class Snapshot(NamedTuple):
    """What there is to answer from: all known events, what the batch view counts of them, and the realtime views."""

    counts: KnownCounts
    live: LiveView | None


class Result(NamedTuple):
    """A question, the SQL condition of the stored rows that answer it, and how far what it came from reaches."""

    question: Query
    where: str
    upto: Boundary

    @property
    def request(self) -> Request:
        """Return the window."""
        return self.question.request


def open_snapshot(root: str) -> Snapshot:
    """Return what is known now."""
    live = open_live(root)
    return Snapshot(known_counts(root, live), live)


def plan_query(
    settings: Settings, knowledge: Snapshot, asked: TimeRange | None, as_of: datetime | None, users: Sequence[int]
) -> Query:
    """Return the question with its defaults: the last complete days, as of the window's end.

    Its notes say what is missing. Raises TimeRangeError for a range that cannot be answered, NotComputedError where no
    event is known.
    """
    root, known = settings.data_root, knowledge.counts.events
    request = windows.resolve_request(settings.trends, asked, known_days(root, known, as_of))
    notes = [*request.notes, *known.notes]
    if as_of and as_of < request.range.end:
        notes.insert(0, f"Answered as of {format_instant(as_of)}: what came after it is not counted.")
    moment = as_of or request.range.end
    if is_present(root, known, moment) and not views_cover(root, settings.brands, knowledge.live, known):
        notes.append(f"The views of brands do not hold all events: run {USER_BRANDS.written_by} to be answered faster.")
    return Query(request._replace(notes=tuple(notes)), moment, users)


def result_of(root: str, question: Query, knowledge: Snapshot) -> Result:
    """Return what tells a reader where the answer is, and how far it reaches."""
    return Result(question, question.where(), boundary(root, knowledge.counts.events))


def lineage_of(settings: Settings, question: Query, knowledge: Snapshot) -> dict[str, Any]:
    """Return all that an answer follows from, so that it can be had again: the question, the rules, what is known."""
    rules = settings.model_dump(mode="json", include={"trends", "brands", "recommendations"})
    stored = _stored_trends(settings, question, knowledge.counts)
    return {
        "rows": question.where(),
        "users": list(question.users),
        "window": [instant.isoformat() for instant in question.request.range],
        "bucket": question.request.bucket,
        "as_of": question.as_of.isoformat(),
        "known": knowledge.counts.events.lineage(),
        "rules": {**rules, "trends": stored[RULE]} if stored else rules,
        "trends_version": tables.version_of(settings.data_root, TRENDS) if stored else None,
    }


def known_brands(spark: SparkSession, settings: Settings, question: Query) -> DataFrame:
    """Return everybody's recent brands as of the question's moment. One row per user_id, schemas.USER_BRANDS."""
    knowledge = open_snapshot(settings.data_root)
    known = knowledge.counts.events
    return brands_as_of(spark, settings.data_root, settings.brands, knowledge.live, known, question.as_of)


def query_of(lineage: Mapping[str, Any]) -> Query:
    """Return the question that stored rows answer, by what their commit tells."""
    window, as_of = TimeRange(*map(datetime.fromisoformat, lineage["window"])), datetime.fromisoformat(lineage["as_of"])
    return Query(Request(window, lineage["bucket"]), as_of, lineage["users"])


def recommended(
    spark: SparkSession, settings: Settings, question: Query, knowledge: Snapshot
) -> tuple[DataFrame, RowBuilder]:
    """Return rows of (user_id, brands), and what makes the recommendations of them, schemas.RECOMMENDATIONS.

    Taken from the views as far as they hold what is known. Raises UnknownUserError.
    """
    counts, as_of = knowledge.counts, question.as_of
    brands = brands_as_of(spark, settings.data_root, settings.brands, knowledge.live, counts.events, as_of)
    if _stored_trends(settings, question, counts):
        trending = trends.stored_trends(spark, settings.data_root, question.request)
    else:
        trending = _computed_trends(spark, settings, question, counts)
    return _recommended(spark, settings, question, counts.events, brands, trending)


def recommended_from_events(
    spark: SparkSession, settings: Settings, question: Query, known: KnownEvents
) -> tuple[DataFrame, RowBuilder]:
    """Return the same, without a look at any view."""
    brands = computed_brands(spark, settings.brands, known, question.as_of)
    trending = _computed_trends(spark, settings, question, KnownCounts(known, None, None))
    return _recommended(spark, settings, question, known, brands, trending)


def _recommended(
    spark: SparkSession,
    settings: Settings,
    question: Query,
    known: KnownEvents,
    brands: DataFrame,
    trending: DataFrame,
) -> tuple[DataFrame, RowBuilder]:
    all_events = _known_rows(spark, settings.data_root, known)
    if question.users:
        _check_known(all_events, question.users)
        brands = brands.where(F.col("user_id").isin(*question.users))
    rule = RecommendationRule(**settings.recommendations.model_dump())
    in_range = filter_range(all_events, question.known_range())
    return brands.select("user_id", "brands"), recommender(trending, in_range, rule)


def _computed_trends(spark: SparkSession, settings: Settings, question: Query, counts: KnownCounts) -> DataFrame:
    """Compute the trends of the window as of the moment, schemas.TRENDS."""
    request, rule = question.request, settings.trends
    count, windows = product_activity.counter(spark), [request.range]
    rows = compute_trends(count, settings.data_root, rule, windows, request.bucket, counts, question.as_of)
    return spark.createDataFrame(rows)


def _stored_trends(settings: Settings, question: Query, counts: KnownCounts) -> dict[str, Any] | None:
    """Return what the window's stored trends were computed from, if they are those of all that was known; else None."""
    if question.as_of < question.request.range.end:
        return None
    return trends.current_lineage(settings.data_root, question.request, counts.events)


def _known_rows(spark: SparkSession, root: str, known: KnownEvents) -> DataFrame:
    """Return all known events, with the columns that are counted."""
    parts = [commits.read(spark, root, EVENTS, known.version)] if known.version is not None else []
    if known.later:
        parts.append(spark.createDataFrame(known.later))
    return reduce(DataFrame.unionByName, [part.select(*COUNTED_COLUMNS) for part in parts])


def _check_known(all_events: DataFrame, users: Sequence[int]) -> None:
    known = {
        row.user_id for row in all_events.where(F.col("user_id").isin(*users)).select("user_id").distinct().collect()
    }
    if unknown := [user for user in users if user not in known]:
        raise UnknownUserError(
            f"No event names the user {', '.join(map(str, unknown))}: choose one that `events` holds."
        )


def recommender(trends: DataFrame, events: DataFrame, rule: RecommendationRule) -> RowBuilder:
    """Return what recommends trends to users, rows of (user_id, brands): one row per (window, user_id, rank).

    `trends` holds one window, `events` are those of it: what a user bought (or met, as `leave_out` says) in it is left
    out. Columns as schemas.RECOMMENDATIONS.
    """
    candidates = candidates_of(trends.toArrow(), rule)
    of_candidates = events.where(F.col("product_id").isin(candidates["product_id"].to_pylist()))
    met = interacted_products(of_candidates, rule.leave_out).toArrow()

    def recommend(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table]]:
        for batch in batches:
            yield (recommend_to(batch, candidates, met, rule),)

    return recommend


def interacted_products(events: DataFrame, leave_out: str) -> DataFrame:
    """Return what users have met, as far as it is to be left out. One row per (user_id, product_id)."""
    return events.where(EXCLUDED_SQL[leave_out]).select("user_id", "product_id").distinct()


def filter_range(events: DataFrame, time_range: TimeRange) -> DataFrame:
    """Keep the events of a range; the condition on event_date lets Delta skip the other days."""
    day, at = F.col("event_date"), F.col("event_time")
    in_days = day.between(F.lit(time_range.start.date()), F.lit(time_range.end.date()))
    return events.where(in_days & (at >= F.lit(time_range.start)) & (at < F.lit(time_range.end)))


@dataclass(frozen=True)
class InteractedProducts:
    """One row per (user_id, product_id), by user."""

    user_ids: NDArray[np.int64]
    product_ids: NDArray[np.int64]

    def of(self, user_id: int) -> set[int]:
        """Return what a user has met."""
        start, end = (int(self.user_ids.searchsorted(user_id, side)) for side in ("left", "right"))
        return set(self.product_ids[start:end].tolist())


def read_interacted(
    known: KnownEvents, time_range: TimeRange, products: pa.Array, leave_out: str
) -> InteractedProducts:
    """Read who met which of the products in a range, as far as that is to be left out."""
    events, sources = select_within(known, time_range, "event_type, user_id, product_id")
    sql = f"""
        SELECT DISTINCT user_id, product_id FROM ({events}) SEMI JOIN asked USING (product_id)
        WHERE {EXCLUDED_SQL[leave_out]} ORDER BY user_id
    """
    met = engine.run_sql(engine.connect().cursor(), sql, asked=pa.table({"product_id": products}), **sources)
    return InteractedProducts(met["user_id"].to_numpy(), met["product_id"].to_numpy())
