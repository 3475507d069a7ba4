"""Every job over a topic: once in the tests' own session; as a script, with the number of times, elsewhere.

The script prints a line of JSON for each time: the version of every table after it.
"""

import json
import sys

from helpers import ALL_TABLES
from pyspark.sql import SparkSession

from lambda_spark import cli, pipelines
from lambda_spark.session import get_spark
from lambda_spark.settings import Settings, load_settings
from lambda_spark.tables import version_of


def run_all_jobs(spark: SparkSession, settings: Settings) -> None:
    """The speed layer before the batch view: what it has found is not dropped yet."""
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.speed_stream(spark, settings, available_now=True)
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)
    pipelines.recommend(spark, settings)


def main() -> None:
    settings = load_settings()
    for _ in range(int(sys.argv[1])):
        run_all_jobs(get_spark("all-jobs"), settings)
        print(json.dumps({table.name: version_of(settings.data_root, table) for table in ALL_TABLES}))


if __name__ == "__main__":
    cli.run(main)
