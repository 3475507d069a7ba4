"""What the batch views cost where little is new, beside the same views from the first event on."""

import sys
from functools import partial
from pathlib import Path

from bench.case import Case, Column, Figures, Run, Table
from bench.incremental_steps import STEPS
from bench.process import Measured
from bench.results import last_figures
from bench.stage import Stage

COLUMNS = (
    Column("seconds", "s", "{:,.2f}", has_ratio=True),
    Column("read_mb", "read, MB", "{:,.1f}", has_ratio=True),
)
PACKAGES = ("pyspark", "deltalake", "duckdb", "pyarrow")


def incremental_table(stage: Stage) -> Table:
    """`product_activity`, `trends` and `user_brands` of a month, and once something has come to it."""
    cases = [Case(step, partial(_run, stage, step), repetitions=1) for step in STEPS]
    data = f"{stage.scale.batch_events:,} events of a month, in one Spark session; its start does not count"
    return Table("incremental", "The batch views, where little is new", cases, COLUMNS, "", PACKAGES, data)


def _run(stage: Stage, step: str, scratch: Path) -> Run:
    month = stage.month(stage.scale.batch_events)
    command = [sys.executable, "-m", "bench.incremental_steps", step, "--month", str(month)]

    def figures(measured: Measured) -> Figures:
        return last_figures(measured.output)

    return Run(command, {"LAMBDA_DATA_ROOT": str(scratch)}, figures)
