"""The Spark session, configured by conf/spark-defaults.conf alone: jobs, tests and spark-submit get the same."""

import os
import sys
from pathlib import Path

from pyspark.errors import PySparkRuntimeError
from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from lambda_spark.errors import SetUpError
from lambda_spark.settings import RUNTIME

# The folder or the zip that the package was loaded from.
_PACKAGE_ROOT = Path(__file__).parent.parent.parent

DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"


def get_spark(app_name: str) -> SparkSession:
    """Return the running session, or start one under this name.

    Raises SetUpError if Java, the Delta jar or the configuration is missing.
    """
    # Under plain `python`, Spark chooses the workers' interpreter before anything reads conf/spark-env.sh.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(app_name)
    # For a stateful query Spark starts a Python worker on the driver too, without --py-files.
    builder = builder.config("spark.executorEnv.PYTHONPATH", str(_PACKAGE_ROOT))
    try:
        spark = builder.getOrCreate()
    except PySparkRuntimeError as error:
        if error.getCondition() != "JAVA_GATEWAY_EXITED":
            raise
        raise SetUpError("Spark could not start, since it finds no Java 17 or newer: run `make setup`.") from error
    _require_delta(spark)
    _quieten(spark)
    return spark


def _require_delta(spark: SparkSession) -> None:
    jvm = spark.sparkContext._jvm
    if DELTA_EXTENSION not in (spark.conf.get("spark.sql.extensions", "") or ""):
        raise SetUpError("Spark has not read conf/spark-defaults.conf: run `make setup`.")
    if jvm is not None and not jvm.org.apache.spark.util.Utils.classIsLoadable(DELTA_EXTENSION):
        raise SetUpError("Spark finds no jar of Delta Lake: run `make setup`.")


def _quieten(spark: SparkSession) -> None:
    """Turn off logs on the console that repeat errors, which reach the caller as exceptions, or narrate workers."""
    # These log a JSON record of every failed query.
    for kind in ("SQL", "DataFrame"):
        PySparkLogger.getLogger(f"{kind}QueryContextLogger").disabled = True
    # Python workers print each step of a stateful query to stderr; Spark's own log keeps its stream.
    jvm = spark.sparkContext._jvm
    if jvm is not None and RUNTIME.exists():
        jvm.java.lang.System.setErr(jvm.java.io.PrintStream(str(RUNTIME / "python-workers.log")))
