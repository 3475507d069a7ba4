"""Every batch view from the master dataset, beside the present ones, and committed once all are complete and agree."""

from pyspark.sql import DataFrame, SparkSession

from lambda_spark import schemas
from lambda_spark.batch import product_activity, trends, user_brands
from lambda_spark.batch.bucket_counts import CountedEvents
from lambda_spark.delta import commits, tables
from lambda_spark.delta.commits import Staged
from lambda_spark.delta.event_log import event_days, event_files
from lambda_spark.delta.parquet_files import open_parquet
from lambda_spark.delta.tables import EVENTS
from lambda_spark.serving import verification
from lambda_spark.serving.snapshot import open_snapshot
from lambda_spark.serving.verification import Difference
from lambda_spark.settings import Settings


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
    counts = CountedEvents(version, event_files(root, version), open_parquet(activity.paths(root)), version)
    windows = list(trends.stage_all(spark, root, settings.trends, counts))
    rows = _staged_lists(spark, root, lists)
    found = [
        verification.check_brands(spark, root, settings.brands, snapshot, rows, version),
        verification.check_counts(spark, root, counts),
    ]
    if all(difference.is_none for difference in found):
        for staged in (activity, *windows, lists):
            commits.commit_staged(root, staged)
    return found


def _staged_lists(spark: SparkSession, root: str, lists: Staged) -> DataFrame:
    if not lists.written:
        return spark.createDataFrame([], schemas.USER_BRANDS)
    return spark.read.schema(schemas.USER_BRANDS).parquet(*lists.paths(root))
