"""Every view from the master dataset, beside the present ones, which it replaces once all are complete and agree."""

from pyspark.sql import SparkSession

from lambda_spark import commits, identity, merging, pipelines, spark_tables, tables, trend_views, views
from lambda_spark.commits import Staged
from lambda_spark.days import days_held
from lambda_spark.differences import Difference
from lambda_spark.known_events import LiveView, known_events, known_upto, open_live
from lambda_spark.merged_activity import KnownCounts
from lambda_spark.parquet_files import open_parquet
from lambda_spark.schemas import USER_BRANDS as COLUMNS
from lambda_spark.serving import Question, question_of
from lambda_spark.settings import Settings
from lambda_spark.tables import EVENTS, RECENT_BRANDS, RECOMMENDATIONS


def rebuild(spark: SparkSession, settings: Settings) -> list[Difference]:
    """Compute the batch views anew, check the Lambda identity of these, and only then let readers see them.

    Returns what was compared; where it differs, every view stays as it is. The speed layer, which may be running, goes
    on from its own offsets and drops what the new views cover. Raises NotComputedError where there are no events.
    """
    root = settings.data_root
    days_held(root)
    live, version = open_live(root), tables.version_of(root, EVENTS)
    counts = views.stage_product_activity(spark, root, version)
    lists = views.stage_user_brands(spark, root, settings.brands, version)
    known = KnownCounts(known_events(root, live, version), open_parquet(counts.paths(root)), version)
    stored = known._replace(events=known_upto(root, None, version, None, {}))
    trends = list(trend_views.stage_all(spark, root, settings.trends, stored))
    found = [_check_brands(spark, settings, live, lists, version), identity.check_counts(spark, root, live, known)]
    if all(difference.is_none for difference in found):
        for staged in (counts, *trends, lists):
            commits.swap_in(root, staged)
        _catch_up(spark, settings)
    return found


def _check_brands(
    spark: SparkSession, settings: Settings, live: LiveView | None, lists: Staged, version: int
) -> Difference:
    """Compare the new batch view, merged with the realtime view, with all events."""
    root, limit = settings.data_root, settings.brands.limit
    merged = spark.createDataFrame([], COLUMNS)
    if lists.written:
        merged = spark.read.schema(COLUMNS).parquet(*lists.paths(root))
    if live:
        log = spark_tables.read(spark, root, RECENT_BRANDS, live.log_version)
        merged = merging.merge_into(merged, log, limit)
    return identity.check_brands(spark, root, settings.brands, live, merged, version)


def _catch_up(spark: SparkSession, settings: Settings) -> None:
    """Bring in what was stored meanwhile, and answer again what `recommendations` answers."""
    root = settings.data_root
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)
    answered: dict[str, Question] = {}
    for lineage in tables.lineages_of(root, RECOMMENDATIONS):
        answered.setdefault(lineage["rows"], question_of(lineage))
    for request, as_of, users in reversed(answered.values()):
        trends = settings.trends.model_copy(update={"bucket": request.bucket})
        own = settings.model_copy(update={"trends": trends})
        pipelines.recommend(spark, own, request.range, users, as_of)
