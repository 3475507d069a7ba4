"""Every view from the master dataset, beside the present ones, which it replaces once all are complete and agree."""

from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.batch import product_activity, trends, user_brands
from lambda_spark.batch.bucket_counts import KnownCounts
from lambda_spark.delta import commits, tables
from lambda_spark.delta.commits import Staged
from lambda_spark.delta.event_log import event_days
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, RECOMMENDATIONS
from lambda_spark.history import merging
from lambda_spark.schemas import USER_BRANDS as COLUMNS
from lambda_spark.serving import verification
from lambda_spark.serving.recommender import Query, query_of
from lambda_spark.serving.snapshot import LiveView, known_events, known_upto, open_live
from lambda_spark.serving.verification import Difference
from lambda_spark.settings import Settings


def rebuild(spark: SparkSession, settings: Settings) -> list[Difference]:
    """Compute the batch views anew, check the Lambda identity of these, and only then let readers see them.

    Returns what was compared; where it differs, every view stays as it is. The speed layer, which may be running, goes
    on from its own offsets and drops what the new views cover. Raises NotComputedError where there are no events.
    """
    root = settings.data_root
    event_days(root)
    live, version = open_live(root), tables.version_of(root, EVENTS)
    counts = product_activity.stage_product_activity(spark, root, version)
    lists = user_brands.stage_user_brands(spark, root, settings.brands, version)
    known = KnownCounts(known_events(root, live, version), counts.dataset(root), version)
    stored = known._replace(events=known_upto(root, None, version, None, {}))
    windows = list(trends.stage_all(spark, root, settings.trends, stored))
    found = [_check_brands(spark, settings, live, lists, version), verification.check_counts(spark, root, live, known)]
    if all(difference.is_none for difference in found):
        for staged in (counts, *windows, lists):
            commits.commit_staged(root, staged)
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
        log = commits.read(spark, root, RECENT_BRANDS, live.log_version)
        merged = merging.merge_into(merged, log, limit)
    return verification.check_brands(spark, root, settings.brands, live, merged, version)


def _catch_up(spark: SparkSession, settings: Settings) -> None:
    """Bring in what was stored meanwhile, and answer again what `recommendations` answers."""
    root = settings.data_root
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)
    answered: dict[str, Query] = {}
    for lineage in tables.lineages_of(root, RECOMMENDATIONS):
        answered.setdefault(lineage["rows"], query_of(lineage))
    for request, as_of, users in reversed(answered.values()):
        trends = settings.trends.model_copy(update={"bucket": request.bucket})
        own = settings.model_copy(update={"trends": trends})
        pipelines.recommend(spark, own, request.range, users, as_of)
