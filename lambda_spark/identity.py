"""The Lambda identity: what the batch and the realtime view hold together is what the events alone say, row by row."""

from pyspark.sql import DataFrame, SparkSession

from lambda_spark import activity, recent_brands, tables
from lambda_spark.differences import Difference, compare
from lambda_spark.errors import NotComputedError
from lambda_spark.handover import EVENTS_VERSION, RULE, further, is_in_log
from lambda_spark.known_days import known_days
from lambda_spark.known_events import LiveView, covered_by, known_upto, open_live
from lambda_spark.merged_activity import KnownCounts, bucket_counts, known_counts
from lambda_spark.merged_brands import merged_views
from lambda_spark.schemas import BUCKET_ACTIVITY
from lambda_spark.settings import BrandSettings, Settings
from lambda_spark.tables import EVENTS, PRODUCT_ACTIVITY, RECENT_BRANDS, USER_BRANDS
from lambda_spark.time_ranges import DAY, TimeRange, end_of, start_of

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
    topic, reached = (live.topic, further(covered_by(root, version, live.topic), live.reached)) if live else (None, {})
    known = known_upto(root, live, version, topic, reached)
    lists = recent_brands.brand_lists(spark, known.files, brands.limit, brands.event_types, later=known.later)
    return compare("Recent brands of users", _WAYS, merged, lists, ["user_id"])


def check_counts(spark: SparkSession, root: str, live: LiveView | None, known: KnownCounts) -> Difference:
    """Compare the counts of all days, both views merged, with those of all events."""
    days = known_days(root, known.events)
    span = TimeRange(start_of(days[0].day), end_of(days[-1].day))
    merged = spark.createDataFrame(
        bucket_counts(activity.counter(spark), root, known, span, DAY, _COLUMNS[1:]).select(_COLUMNS)
    )
    events = known_upto(root, live, known.events.version, known.events.topic, known.events.reached)
    counts = activity.bucket_activity(spark, events.files, span, DAY, events.later).select(*_COLUMNS)
    return compare("Counts of products by day", _WAYS, merged, counts, ["bucket_at", "product_id"])
