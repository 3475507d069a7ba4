"""Proofs: every view and every stored answer compared with a recomputation from the master dataset, row by row.

The Lambda identity: what the batch view and the realtime view hold together is what the events alone say.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import schemas
from lambda_spark.batch import product_activity, trends, user_brands
from lambda_spark.batch.bucket_counts import CountedEvents, bucket_counts, events_only, spark_counter
from lambda_spark.batch.user_brands import brand_lists, merge_into
from lambda_spark.delta import commits, tables
from lambda_spark.delta.commits import Staged
from lambda_spark.delta.coverage import EVENTS_VERSION, RULE, is_covered_by, is_in_log, max_offsets
from lambda_spark.delta.event_log import event_days, event_files, slices_until, topic_offsets
from lambda_spark.delta.parquet_files import as_map_in_arrow, window_key
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY, RECENT_BRANDS, RECOMMENDATIONS, USER_BRANDS
from lambda_spark.errors import NotComputedError
from lambda_spark.schemas import BUCKET_ACTIVITY, Offsets
from lambda_spark.serving import recommender
from lambda_spark.serving.recommender import Plan, Query
from lambda_spark.serving.snapshot import Snapshot, open_snapshot, slices_of
from lambda_spark.settings import BrandSettings, Settings, load_settings
from lambda_spark.time_ranges import DAY, TimeRange, end_of, format_instant, start_of

_ROWS_SHOWN = 20
# Sums of fractions depend on their order in the last digits.
_DIGITS = 9
_ACTIVITY_COLUMNS = tuple(column.split()[0] for column in BUCKET_ACTIVITY.split(","))
_VIEWS_AND_EVENTS = ("in the views", "computed from events")


class Difference(NamedTuple):
    """What was compared, by which two ways, how many rows the first has, and rows that only one of them has."""

    what: str
    ways: tuple[str, str]
    row_count: int
    only: tuple[list[dict[str, Any]], list[dict[str, Any]]]

    @property
    def is_none(self) -> bool:
        """Return True if both ways have the same rows."""
        return not any(self.only)


def compare(what: str, ways: tuple[str, str], one: DataFrame, other: DataFrame, keys: Sequence[str]) -> Difference:
    """Compare two DataFrames with the same columns as multisets of rows; shown in the order of the keys."""
    one, other = one.cache(), other.cache()
    try:
        only = tuple(_first_rows(*pair, keys) for pair in ((one, other), (other, one)))
        return Difference(what, ways, one.count(), (only[0], only[1]))
    finally:
        for rows in (one, other):
            rows.unpersist()


def verify_stored(spark: SparkSession, root: str, window: TimeRange) -> Difference:
    """Compare the stored recommendations of a window with those computed from `events` by their commit's lineage.

    Raises NotComputedError if there are none, or if `events` does not hold all that they came from.
    """
    key = window_key(window)
    lineage = tables.window_lineages(root, RECOMMENDATIONS, [key]).get(key)
    if lineage is None:
        raise NotComputedError(f"No recommendations are stored for {window}: ask for them without --verify first.")
    query, version = recommender.query_of(lineage), lineage["snapshot"][EVENTS_VERSION]
    settings = load_settings(data_root=root, **lineage["rules"])
    events = slices_of(root, lineage["snapshot"])
    computed = recommender.plan_from_events(spark, settings, query, version, events)
    stored = commits.read(spark, root, RECOMMENDATIONS).where(query.where())
    return _compare_answers(query, "in the table", stored, _rows_of(computed))


def verify_now(spark: SparkSession, settings: Settings, query: Query, snapshot: Snapshot) -> Difference:
    """Compare the answer for some users from the present views with the one computed from `events`.

    Raises NotComputedError if `events` does not hold all that the views hold, and UnknownUserError.
    """
    plan = recommender.plan_recommendations(spark, settings, query, snapshot)
    events = slices_of(settings.data_root, recommender.snapshot_lineage(query, snapshot))
    computed = recommender.plan_from_events(spark, settings, query, snapshot.counts.version, events)
    return _compare_answers(query, "from the views", _rows_of(plan), _rows_of(computed))


def check_identity(spark: SparkSession, settings: Settings) -> list[Difference]:
    """Compare what the present views of both layers hold with the events.

    Of `recent_brands` the micro-batches count whose messages `events` holds, since ingest may be behind. Raises
    NotComputedError if there is no view, or if the log does not go back to what one was computed from.
    """
    root, found = settings.data_root, []
    _require_log(root)
    snapshot, lineage = open_snapshot(root), tables.lineage_of(root, USER_BRANDS)
    if snapshot.realtime or lineage:
        brands = BrandSettings(**lineage[RULE]) if lineage else settings.brands
        stored = commits.read(spark, root, USER_BRANDS) if lineage else None
        version = lineage[EVENTS_VERSION] if lineage else None
        found.append(check_brands(spark, root, brands, snapshot, stored, version))
    if snapshot.counts.view is not None:
        found.append(check_counts(spark, root, snapshot.counts))
    if not found:
        jobs = ", ".join(table.written_by for table in (PRODUCT_ACTIVITY, USER_BRANDS, RECENT_BRANDS))
        raise NotComputedError(f"There is no view in {root} yet: run one of {jobs} first.")
    return found


def check_brands(
    spark: SparkSession,
    root: str,
    brands: BrandSettings,
    snapshot: Snapshot,
    stored: DataFrame | None,
    version: int | None,
) -> Difference:
    """Compare everybody's recent brands, both views merged, with those of all events.

    `stored` are the rows of the batch view, schemas.USER_BRANDS, computed from that version of `events`.
    """
    event_days(root)
    recent, reached = _recent_within(spark, root, snapshot)
    lists = stored if stored is not None else spark.createDataFrame([], schemas.USER_BRANDS)
    merged = merge_into(lists, recent, brands.limit) if recent is not None else lists
    topic = snapshot.realtime.topic if snapshot.realtime else None
    upto = max_offsets(topic_offsets(root, version, topic), reached) if topic else {}
    computed = brand_lists(spark, slices_until(root, version, topic, upto), brands)
    return compare("Recent brands of users", _VIEWS_AND_EVENTS, merged, computed, ["user_id"])


def check_counts(spark: SparkSession, root: str, counts: CountedEvents) -> Difference:
    """Compare the counts of all days, from the view with stale days counted again, with those of all events."""
    days, count = event_days(root, counts.version), spark_counter(spark)
    span = TimeRange(start_of(days[0].day), end_of(days[-1].day))
    from_view, from_events = (
        spark.createDataFrame(bucket_counts(count, root, each, span, DAY, _ACTIVITY_COLUMNS[1:]))
        for each in (counts, events_only(root, counts.version))
    )
    what, keys = "Counts of products by day", ["bucket_at", "product_id"]
    return compare(what, _VIEWS_AND_EVENTS, from_view, from_events, keys)


def rebuild_views(spark: SparkSession, settings: Settings) -> list[Difference]:
    """Compute the batch views from scratch, check the Lambda identity of these, and only then commit them.

    Returns what was compared; if it differs, every view stays as it is. The speed layer, which may be running, resumes
    from its own offsets and drops what the new views cover. Raises NotComputedError if there are no events.
    """
    root = settings.data_root
    event_days(root)
    snapshot, version = open_snapshot(root), tables.version_of(root, EVENTS)
    activity = product_activity.stage_product_activity(spark, root, version)
    lists = user_brands.stage_user_brands(spark, root, settings.brands, version)
    counts = CountedEvents(version, event_files(root, version), activity.dataset(root), version)
    windows = list(trends.stage_all(spark, root, settings.trends, counts))
    rows = _staged_lists(spark, root, lists)
    found = [
        check_brands(spark, root, settings.brands, snapshot, rows, version),
        check_counts(spark, root, counts),
    ]
    if all(difference.is_none for difference in found):
        for staged in (activity, *windows, lists):
            commits.commit_staged(root, staged)
    return found


def _recent_within(spark: SparkSession, root: str, snapshot: Snapshot) -> tuple[DataFrame | None, Offsets]:
    """Return the rows of `recent_brands` whose micro-batch `events` holds, and the offsets these reach."""
    realtime, stored = snapshot.realtime, snapshot.stored
    if realtime is None:
        return None, {}
    rows = commits.read(spark, root, RECENT_BRANDS, realtime.version)
    if is_covered_by(realtime.reached, stored):
        return rows, realtime.reached
    ends = tables.open_dataset(root, RECENT_BRANDS, realtime.version).to_table(["source_offsets"])["source_offsets"]
    reached: Offsets = {}
    for end in {tuple(offsets) for offsets in ends.to_pylist()}:
        if is_covered_by(dict(end), stored):
            reached = max_offsets(reached, dict(end))
    limits = F.create_map(*(F.lit(value) for pair in stored.items() for value in pair))

    def is_stored(entry: Any) -> Any:
        return entry["value"] <= F.coalesce(limits[entry["key"]], F.lit(0))

    return rows.where(F.forall(F.map_entries("source_offsets"), is_stored) if stored else F.lit(False)), reached


def _staged_lists(spark: SparkSession, root: str, lists: Staged) -> DataFrame:
    if not lists.written:
        return spark.createDataFrame([], schemas.USER_BRANDS)
    return spark.read.schema(schemas.USER_BRANDS).parquet(*lists.paths(root))


def _require_log(root: str) -> None:
    for view in (PRODUCT_ACTIVITY, USER_BRANDS):
        lineage = tables.lineage_of(root, view)
        if lineage is not None and not is_in_log(root, lineage):
            raise NotComputedError(
                f"The log of {EVENTS.name} does not go back to what {view.name} was computed from any more: "
                f"run {view.written_by}, which computes it anew."
            )


def _rows_of(plan: Plan) -> DataFrame:
    return plan.brands.mapInArrow(as_map_in_arrow(plan.build_rows), schemas.RECOMMENDATIONS)


def _compare_answers(query: Query, way: str, answer: DataFrame, computed: DataFrame) -> Difference:
    what = f"Recommendations for {query.request.range} as of {format_instant(query.as_of)}"
    ways = way, "computed from events"
    return compare(what, ways, _comparable(answer), _comparable(computed), ("user_id", "rank"))


def _comparable(rows: DataFrame) -> DataFrame:
    figures = {name: F.round(name, _DIGITS) for name in ("trend_score", "total_pct_increase")}
    return rows.select(*schemas.RECOMMENDATION_COLUMNS).withColumns(figures)


def _first_rows(one: DataFrame, other: DataFrame, keys: Sequence[str]) -> list[dict[str, Any]]:
    return [row.asDict() for row in one.exceptAll(other).orderBy(*keys).limit(_ROWS_SHOWN).collect()]
