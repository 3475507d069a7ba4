"""`python -m bench.incremental STEP --month DIR`: the cost of updating the batch views after few changes.

The data root is that of the settings. Prints as JSON the seconds of the update, and the megabytes that the process and
its descendants have read during it, from files and pipes.
"""

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

import psutil
from pyspark.sql import SparkSession

from bench.case import Case, Column, Figures, Run, Table
from bench.process import Measurement
from bench.results import last_figures
from bench.testbed import Testbed
from lambda_spark import pipelines
from lambda_spark.delta.session import get_spark
from lambda_spark.events.event_files import find_event_files
from lambda_spark.settings import Settings, load_settings

ALL, NEW_DAY, LATE, NOTHING = "all days at once", "one more day", "1,000 late events of the 5th", "nothing new"
STEPS = (ALL, NEW_DAY, LATE, NOTHING)

_LATE_DAY, _LATE_LINES = 4, 1_001
COLUMNS = (
    Column("seconds", "s", "{:,.2f}", has_ratio=True),
    Column("read_mb", "read, MB", "{:,.1f}", has_ratio=True),
)
PACKAGES = ("pyspark", "deltalake", "duckdb", "pyarrow")


def incremental_table(testbed: Testbed) -> Table:
    """Return the table: the batch views from the first event on, and updates after few changes."""
    cases = [Case(step, partial(_run, testbed, step), repetitions=1) for step in STEPS]
    data = f"{testbed.scale.batch_events:,} events of a month, in one Spark session; its start does not count"
    return Table("incremental", "The batch views, where little is new", cases, COLUMNS, "", PACKAGES, data)


def main() -> None:
    """Prepare the data root for the step, and measure the update."""
    options = argparse.ArgumentParser(prog="python -m bench.incremental", description=__doc__)
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
    # Spark is warmed up before each step.
    spark.range(1_000).selectExpr("sum(id)").collect()
    read, begin = _read_bytes(), time.perf_counter()
    _update(spark, settings)
    print(json.dumps({"seconds": time.perf_counter() - begin, "read_mb": (_read_bytes() - read) / 1e6}))


def _run(testbed: Testbed, step: str, scratch: Path) -> Run:
    month = testbed.month(testbed.scale.batch_events)
    command = [sys.executable, "-m", "bench.incremental", step, "--month", str(month)]

    def figures(measured: Measurement) -> Figures:
        return last_figures(measured.output)

    return Run(command, {"LAMBDA_DATA_ROOT": str(scratch)}, figures)


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
    """Return the bytes that this process and its descendants, none of which ends, have read so far."""
    process = psutil.Process()
    return sum(each.io_counters().read_chars for each in (process, *process.children(recursive=True)))


if __name__ == "__main__":
    main()
