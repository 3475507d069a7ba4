"""`spark-submit chaos/finish.py`: read the topic to its end, compute all views, and check the Lambda identity.

All in one session: starting Spark takes as long as a step.
"""

from pyspark.sql import SparkSession

from lambda_spark import cli, pipelines
from lambda_spark.delta.session import get_spark
from lambda_spark.errors import LambdaSparkError
from lambda_spark.serving import verification
from lambda_spark.settings import Settings, load_settings


def main() -> None:
    """Run each job once."""
    spark, settings = get_spark("finish"), load_settings()
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.speed_stream(spark, settings, available_now=True)
    require_identity(spark, settings)
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)
    pipelines.recommend(spark, settings)
    require_identity(spark, settings)


def require_identity(spark: SparkSession, settings: Settings) -> None:
    """Raise LambdaSparkError if a view differs from the events."""
    for found in verification.check_identity(spark, settings):
        if not found.is_none:
            raise LambdaSparkError(f"{found.what}: the views and the events differ: {found.only}")


if __name__ == "__main__":
    cli.run(main)
