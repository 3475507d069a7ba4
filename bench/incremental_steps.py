"""`python -m bench.incremental_steps STEP --month DIR`: the batch views brought up to date after what the step says.

The data root is that of the settings. Prints as JSON the seconds, and the megabytes that the process and its
descendants have read meanwhile, from files and pipes.
"""

import argparse
import json
import time
from pathlib import Path

import psutil
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta.session import get_spark
from lambda_spark.events.event_files import find_event_files
from lambda_spark.settings import Settings, load_settings

ALL, NEW_DAY, LATE, NOTHING = "all days at once", "one more day", "1,000 late events of the 5th", "nothing new"
STEPS = (ALL, NEW_DAY, LATE, NOTHING)

_LATE_DAY, _LATE_LINES = 4, 1_001


def main() -> None:
    """Bring the data root to where the step begins, and measure it."""
    options = argparse.ArgumentParser(prog="python -m bench.incremental_steps", description=__doc__)
    options.add_argument("step", choices=STEPS)
    options.add_argument("--month", type=Path, required=True)
    args = options.parse_args()
    settings, spark, days = load_settings(), get_spark("bench"), find_event_files([args.month])
    if args.step == ALL:
        pipelines.ingest_files(spark, settings, days)
    else:
        pipelines.ingest_files(spark, settings, days[:-1])
        _update(spark, settings)
        pipelines.ingest_files(spark, settings, days[-1:])
    if args.step in (LATE, NOTHING):
        _update(spark, settings)
    if args.step == LATE:
        pipelines.ingest_files(spark, settings, [_late_file(days[_LATE_DAY], Path(settings.data_root))])
    # Spark's own code is warm in each step.
    spark.range(1_000).selectExpr("sum(id)").collect()
    read, begin = _read_bytes(), time.perf_counter()
    _update(spark, settings)
    print(json.dumps({"seconds": time.perf_counter() - begin, "read_mb": (_read_bytes() - read) / 1e6}))


def _update(spark: SparkSession, settings: Settings) -> None:
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)


def _late_file(day: Path, folder: Path) -> Path:
    """Write a file of a header and the first events of a day."""
    late = folder / "late.csv"
    with day.open() as lines, late.open("w") as file:
        file.writelines(line for _, line in zip(range(_LATE_LINES), lines, strict=False))
    return late


def _read_bytes() -> int:
    """Return what this process and its descendants, which stay, have read so far."""
    process = psutil.Process()
    return sum(each.io_counters().read_chars for each in (process, *process.children(recursive=True)))


if __name__ == "__main__":
    main()
