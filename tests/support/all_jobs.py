"""Every job once over a topic: run in the tests' own session, and as a script on other clusters and data roots."""

from pyspark.sql import SparkSession

from lambda_spark import cli, pipelines
from lambda_spark.delta.session import get_spark
from lambda_spark.settings import Settings, load_settings


def run_all_jobs(spark: SparkSession, settings: Settings) -> None:
    """The speed layer before the batch view: what it has found is not dropped yet."""
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
