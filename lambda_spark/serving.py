"""The serving layer: the recommendation rule applied to what both layers know, as of a moment."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import activity, spark_tables, tables, trend_views, trend_windows
from lambda_spark.brand_coverage import do_views_hold, is_present
from lambda_spark.errors import UnknownUserError
from lambda_spark.handover import RULE
from lambda_spark.known_days import Boundary, boundary, known_days
from lambda_spark.known_events import KnownEvents, LiveView, open_live
from lambda_spark.merged_activity import KnownCounts, known_counts
from lambda_spark.merged_brands import brands_as_of, computed_brands
from lambda_spark.parquet_files import MakeRows
from lambda_spark.recommendations import RecommendationRule
from lambda_spark.recommender import filter_range, recommender
from lambda_spark.schemas import COUNTED_COLUMNS
from lambda_spark.settings import Settings
from lambda_spark.tables import EVENTS, TRENDS, USER_BRANDS
from lambda_spark.time_ranges import Request, TimeRange, format_instant
from lambda_spark.trend_windows import compute_trends


class Question(NamedTuple):
    """What is asked: the window and its bucket, as of which moment, and of which users; none means all."""

    request: Request
    as_of: datetime
    users: Sequence[int] = ()

    def where(self) -> str:
        """Return the SQL condition of the rows that answer it."""
        window = trend_windows.window_condition(self.request.range)
        return f"{window} AND user_id IN ({', '.join(map(str, self.users))})" if self.users else window

    def known_range(self) -> TimeRange:
        """Return the part of the window that lies before the moment."""
        return TimeRange(self.request.range.start, min(self.request.range.end, self.as_of))


class Knowledge(NamedTuple):
    """What there is to answer from: all known events, what the batch view counts of them, and the realtime views."""

    counts: KnownCounts
    live: LiveView | None


class Answer(NamedTuple):
    """A question, the SQL condition of the stored rows that answer it, and how far what it came from reaches."""

    question: Question
    where: str
    upto: Boundary

    @property
    def request(self) -> Request:
        """Return the window."""
        return self.question.request


def know(root: str) -> Knowledge:
    """Return what is known now."""
    live = open_live(root)
    return Knowledge(known_counts(root, live), live)


def ask(
    settings: Settings, knowledge: Knowledge, asked: TimeRange | None, as_of: datetime | None, users: Sequence[int]
) -> Question:
    """Return the question with its defaults: the last complete days, as of the window's end.

    Its notes say what is missing. Raises TimeRangeError for a range that cannot be answered, NotComputedError where no
    event is known.
    """
    root, known = settings.data_root, knowledge.counts.events
    request = trend_windows.resolve_request(settings.trends, asked, known_days(root, known, as_of))
    notes = [*request.notes, *known.notes]
    if as_of and as_of < request.range.end:
        notes.insert(0, f"Answered as of {format_instant(as_of)}: what came after it is not counted.")
    moment = as_of or request.range.end
    if is_present(root, known, moment) and not do_views_hold(root, settings.brands, knowledge.live, known):
        notes.append(f"The views of brands do not hold all events: run {USER_BRANDS.written_by} to be answered faster.")
    return Question(request._replace(notes=tuple(notes)), moment, users)


def answer_of(root: str, question: Question, knowledge: Knowledge) -> Answer:
    """Return what tells a reader where the answer is, and how far it reaches."""
    return Answer(question, question.where(), boundary(root, knowledge.counts.events))


def lineage_of(settings: Settings, question: Question, knowledge: Knowledge) -> dict[str, Any]:
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


def known_brands(spark: SparkSession, settings: Settings, question: Question) -> DataFrame:
    """Return everybody's recent brands as of the question's moment. One row per user_id, schemas.USER_BRANDS."""
    knowledge = know(settings.data_root)
    known = knowledge.counts.events
    return brands_as_of(spark, settings.data_root, settings.brands, knowledge.live, known, question.as_of)


def question_of(lineage: Mapping[str, Any]) -> Question:
    """Return the question that stored rows answer, by what their commit tells."""
    window, as_of = TimeRange(*map(datetime.fromisoformat, lineage["window"])), datetime.fromisoformat(lineage["as_of"])
    return Question(Request(window, lineage["bucket"]), as_of, lineage["users"])


def recommended(
    spark: SparkSession, settings: Settings, question: Question, knowledge: Knowledge
) -> tuple[DataFrame, MakeRows]:
    """Return rows of (user_id, brands), and what makes the recommendations of them, schemas.RECOMMENDATIONS.

    Taken from the views as far as they hold what is known. Raises UnknownUserError.
    """
    counts, as_of = knowledge.counts, question.as_of
    brands = brands_as_of(spark, settings.data_root, settings.brands, knowledge.live, counts.events, as_of)
    if _stored_trends(settings, question, counts):
        trending = trend_views.stored_trends(spark, settings.data_root, question.request)
    else:
        trending = _computed_trends(spark, settings, question, counts)
    return _recommended(spark, settings, question, counts.events, brands, trending)


def recommended_from_events(
    spark: SparkSession, settings: Settings, question: Question, known: KnownEvents
) -> tuple[DataFrame, MakeRows]:
    """Return the same, without a look at any view."""
    brands = computed_brands(spark, settings.brands, known, question.as_of)
    trending = _computed_trends(spark, settings, question, KnownCounts(known, None, None))
    return _recommended(spark, settings, question, known, brands, trending)


def _recommended(
    spark: SparkSession,
    settings: Settings,
    question: Question,
    known: KnownEvents,
    brands: DataFrame,
    trending: DataFrame,
) -> tuple[DataFrame, MakeRows]:
    all_events = _known_rows(spark, settings.data_root, known)
    if question.users:
        _check_known(all_events, question.users)
        brands = brands.where(F.col("user_id").isin(*question.users))
    rule = RecommendationRule(**settings.recommendations.model_dump())
    in_range = filter_range(all_events, question.known_range())
    return brands.select("user_id", "brands"), recommender(trending, in_range, rule)


def _computed_trends(spark: SparkSession, settings: Settings, question: Question, counts: KnownCounts) -> DataFrame:
    """Compute the trends of the window as of the moment, schemas.TRENDS."""
    request, rule = question.request, settings.trends
    count, windows = activity.counter(spark), [request.range]
    rows = compute_trends(count, settings.data_root, rule, windows, request.bucket, counts, question.as_of)
    return spark.createDataFrame(rows)


def _stored_trends(settings: Settings, question: Question, counts: KnownCounts) -> dict[str, Any] | None:
    """Return what the window's stored trends were computed from, if they are those of all that was known; else None."""
    if question.as_of < question.request.range.end:
        return None
    return trend_views.current_lineage(settings.data_root, settings.trends, question.request, counts.events)


def _known_rows(spark: SparkSession, root: str, known: KnownEvents) -> DataFrame:
    """Return all known events, with the columns that are counted."""
    parts = [spark_tables.read(spark, root, EVENTS, known.version)] if known.version is not None else []
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
