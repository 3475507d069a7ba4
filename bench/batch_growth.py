"""How the steps of the batch layer grow with the month: a session of its own per size, and a chart of all sizes."""

import sys
from functools import partial
from pathlib import Path

import altair
import pandas as pd

from bench.batch import PACKAGES
from bench.case import Case, Column, Figures, Run, Table
from bench.process import Measured
from bench.results import last_figures
from bench.stage import Stage
from lambda_spark.settings import PROJECT_ROOT

CHART = PROJECT_ROOT / "docs" / "benchmarks-batch.svg"
STEPS = ("files", "activity", "window", "windows", "brands", "recommend")
COLUMNS = (
    *(Column(step, f"{step}, s", "{:,.2f}") for step in STEPS),
    Column("peak_mb", "peak memory, MB"),
)


def batch_growth_table(stage: Stage) -> Table:
    """All steps on months of several sizes."""
    seconds: dict[int, Figures] = {}
    cases = [
        Case(f"{events:,} events", partial(_growth_run, stage, events, seconds), repetitions=1)
        for events in stage.scale.batch_sizes
    ]
    return Table("batch-growth", "Growth of the batch layer", cases, COLUMNS, "", PACKAGES, "months of several sizes")


def _growth_run(stage: Stage, events: int, seconds: dict[int, Figures], scratch: Path) -> Run:
    command = [sys.executable, "-m", "bench.batch_steps", *STEPS, "--month", str(stage.month(events))]

    def figures(measured: Measured) -> Figures:
        seconds[events] = last_figures(measured.output)
        if stage.scale.is_published and len(seconds) == len(stage.scale.batch_sizes):
            draw(seconds, CHART)
        return {**seconds[events], "peak_mb": measured.usage().peak_bytes / 1e6}

    return Run(command, {"LAMBDA_DATA_ROOT": str(scratch)}, figures)


def draw(seconds: dict[int, Figures], path: Path) -> None:
    """Draw the seconds of each step over the events, both on logarithmic scales."""
    rows = pd.DataFrame.from_dict(seconds, orient="index").rename_axis("events").reset_index()
    points = rows.melt("events", list(STEPS), "step", "seconds")
    chart = altair.Chart(points).mark_line(point=True)
    chart = chart.encode(
        altair.X("events", scale=altair.Scale(type="log"), title="events"),
        altair.Y("seconds", scale=altair.Scale(type="log"), title="seconds"),
        altair.Color("step", title=None, sort=list(STEPS)),
    )
    chart.properties(width=480, height=320).save(path)
