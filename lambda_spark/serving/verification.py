"""Two ways to the same rows, compared: whether they agree, and the first rows on which they do not.

`recommend.py --verify`: whether stored recommendations follow from the stored events alone.

The Lambda identity: what the batch and the realtime view hold together is what the events alone say, row by row.

The last result of the Lambda identity's check, kept beside the tables for whoever shows it.
"""

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import schemas
from lambda_spark.batch import product_activity, user_brands
from lambda_spark.batch.bucket_counts import KnownCounts, bucket_counts, known_counts
from lambda_spark.delta import commits, tables
from lambda_spark.delta.coverage import EVENTS_VERSION, RULE, is_in_log, max_offsets
from lambda_spark.delta.parquet_files import as_map_in_arrow
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY, RECENT_BRANDS, RECOMMENDATIONS, USER_BRANDS
from lambda_spark.errors import NotComputedError
from lambda_spark.schemas import BUCKET_ACTIVITY
from lambda_spark.serving.histories import merged_views
from lambda_spark.serving.recommender import query_of, recommended_from_events
from lambda_spark.serving.snapshot import LiveView, covered_by, known_days, known_once, known_upto, open_live
from lambda_spark.settings import BrandSettings, Settings, load_settings
from lambda_spark.time_ranges import DAY, TimeRange, end_of, format_instant, start_of

_SHOWN = 20


class Difference(NamedTuple):
    """What was compared, by which two ways, how many rows the first gave, and rows that only one of them gave."""

    what: str
    ways: tuple[str, str]
    row_count: int
    only: tuple[list[dict[str, Any]], list[dict[str, Any]]]

    @property
    def is_none(self) -> bool:
        """Say whether both gave the same rows."""
        return not any(self.only)


def compare(what: str, ways: tuple[str, str], one: DataFrame, other: DataFrame, keys: Sequence[str]) -> Difference:
    """Compare the rows of both, of the same columns, as multisets; rows are shown in the order of the keys."""
    one, other = one.cache(), other.cache()
    try:
        only = tuple(_first(*pair, keys) for pair in ((one, other), (other, one)))
        return Difference(what, ways, one.count(), (only[0], only[1]))
    finally:
        for rows in (one, other):
            rows.unpersist()


def _first(one: DataFrame, other: DataFrame, keys: Sequence[str]) -> list[dict[str, Any]]:
    return [row.asDict() for row in one.exceptAll(other).orderBy(*keys).limit(_SHOWN).collect()]


# Sums of fractions depend on their order in the last digits.
_DIGITS = 9


def verify(spark: SparkSession, root: str, where: str) -> Difference:
    """Compute the recommendations that meet the condition again, by what their commit tells, from `events` alone.

    Raises NotComputedError where there are none, or where `events` does not hold all that they came from yet.
    """
    lineage = next((each for each in tables.lineages_of(root, RECOMMENDATIONS) if each["rows"] == where), None)
    if lineage is None:
        raise NotComputedError(f"No recommendations are stored for {where}: ask for them without --verify first.")
    known = known_once(root, lineage["known"])
    if known.notes:
        raise NotComputedError(known.notes[0])
    question = query_of(lineage)
    settings = load_settings(data_root=root, **lineage["rules"])
    brands, make_rows = recommended_from_events(spark, settings, question, known)
    computed = brands.mapInArrow(as_map_in_arrow(make_rows), schemas.RECOMMENDATIONS)
    stored = commits.read(spark, root, RECOMMENDATIONS).where(where)
    what = f"Recommendations for {question.request.range} as of {format_instant(question.as_of)}"
    ways = "in the table", "computed from events"
    return compare(what, ways, _comparable(stored), _comparable(computed), ("user_id", "rank"))


def _comparable(rows: DataFrame) -> DataFrame:
    figures = {name: F.round(name, _DIGITS) for name in ("trend_score", "total_pct_increase")}
    return rows.select(*schemas.RECOMMENDATION_COLUMNS).withColumns(figures)


_COLUMNS = tuple(column.split()[0] for column in BUCKET_ACTIVITY.split(","))
_WAYS = ("in the views", "computed from events")


def check_identity(spark: SparkSession, settings: Settings) -> list[Difference]:
    """Compare what the present views hold, of both layers together, with all events.

    Raises NotComputedError where there is no view yet, or nobody can tell any more what it was computed from.
    """
    root, found = settings.data_root, []
    _check_log(root)
    live = open_live(root)
    lists = tables.lineage_of(root, USER_BRANDS)
    if live or lists:
        brands = BrandSettings(**lists[RULE]) if lists else settings.brands
        merged = merged_views(spark, root, brands.limit, live)
        found.append(check_brands(spark, root, brands, live, merged, lists[EVENTS_VERSION] if lists else None))
    if live or tables.exists(root, PRODUCT_ACTIVITY):
        found.append(check_counts(spark, root, live, known_counts(root, live)))
    if not found:
        jobs = ", ".join(table.written_by for table in (PRODUCT_ACTIVITY, USER_BRANDS, RECENT_BRANDS))
        raise NotComputedError(f"There is no view in {root} yet: run one of {jobs} first.")
    return found


def _check_log(root: str) -> None:
    for view in (PRODUCT_ACTIVITY, USER_BRANDS):
        lineage = tables.lineage_of(root, view)
        if lineage is not None and not is_in_log(root, lineage):
            raise NotComputedError(
                f"The log of {EVENTS.name} does not go back to what {view.name} was computed from any more: "
                f"run {view.written_by}, which computes it anew."
            )


def check_brands(
    spark: SparkSession, root: str, brands: BrandSettings, live: LiveView | None, merged: DataFrame, version: int | None
) -> Difference:
    """Compare everybody's recent brands, both views merged, with those of all events.

    `version` is that of `events` which the batch view covers; `merged` has one row per user_id, schemas.USER_BRANDS.
    """
    topic, reached = (
        (live.topic, max_offsets(covered_by(root, version, live.topic), live.reached)) if live else (None, {})
    )
    known = known_upto(root, live, version, topic, reached)
    lists = user_brands.brand_lists(spark, known.files, brands.limit, brands.event_types, later=known.later)
    return compare("Recent brands of users", _WAYS, merged, lists, ["user_id"])


def check_counts(spark: SparkSession, root: str, live: LiveView | None, known: KnownCounts) -> Difference:
    """Compare the counts of all days, both views merged, with those of all events."""
    days = known_days(root, known.events)
    span = TimeRange(start_of(days[0].day), end_of(days[-1].day))
    merged = spark.createDataFrame(
        bucket_counts(product_activity.counter(spark), root, known, span, DAY, _COLUMNS[1:]).select(_COLUMNS)
    )
    events = known_upto(root, live, known.events.version, known.events.topic, known.events.reached)
    counts = product_activity.bucket_activity(spark, events.files, span, DAY, events.later).select(*_COLUMNS)
    return compare("Counts of products by day", _WAYS, merged, counts, ["bucket_at", "product_id"])


FILE = "identity.json"


class Part(BaseModel):
    """What was compared, how many rows there were, and how many of those that only one way gave were found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    rows: int
    differences: int


class Result(BaseModel):
    """When the identity was checked, and what of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checked_at: datetime
    parts: list[Part]


def write_result(local_root: Path, found: Sequence["Difference"]) -> None:
    """Keep what was compared in the place of the last result."""
    local_root.mkdir(parents=True, exist_ok=True)
    parts = [Part(what=each.what, rows=each.row_count, differences=sum(map(len, each.only))) for each in found]
    result = Result(checked_at=datetime.now(timezone.utc), parts=parts)
    (local_root / FILE).write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_result(local_root: Path) -> dict[str, Any] | None:
    """Return the last result; None where there is none, or none that can be read."""
    try:
        result = Result.model_validate_json((local_root / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    agrees = not any(part.differences for part in result.parts)
    return {**result.model_dump(), "agrees": agrees}
