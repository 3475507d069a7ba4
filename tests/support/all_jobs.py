"""All jobs once over a topic: in the tests' session, or as a script on a cluster or object storage."""

from pyspark.sql import SparkSession

from lambda_spark import cli, pipelines
from lambda_spark.delta.session import get_spark
from lambda_spark.settings import Settings, load_settings


def run_all_jobs(spark: SparkSession, settings: Settings) -> None:
    """Run all jobs; the speed layer runs before there is a batch view by which it would drop what that covers."""
    run_streams(spark, settings)
    run_batch_jobs(spark, settings)


def run_streams(spark: SparkSession, settings: Settings) -> None:
    """Let both layers read the topic to its end."""
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.speed_stream(spark, settings, available_now=True)


def run_batch_jobs(spark: SparkSession, settings: Settings) -> None:
    """Bring the batch views and the recommendations up to date."""
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)
    pipelines.recommend(spark, settings)


if __name__ == "__main__":
    cli.run(lambda: run_all_jobs(get_spark("all-jobs"), load_settings()))
