"""`python -m bench.growth`: the speed layer's files on disk over many micro-batches, one line of JSON a second."""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import altair
import pandas as pd

from bench.case import Case, Column, Figures, Run, Table
from bench.freshness import PACKAGES, offer, tree_bytes
from bench.process import Measurement, job
from bench.testbed import Testbed
from lambda_spark.local.processes import running_process
from lambda_spark.settings import PROJECT_ROOT, Settings, load_settings
from lambda_spark.speed import checkpoints
from lambda_spark.speed.checkpoints import received_count

CHART = PROJECT_ROOT / "docs" / "benchmarks-growth.svg"
COLUMNS = (
    Column("batches", "micro-batches"),
    Column("events", "events"),
    Column("checkpoint_mb_half", "checkpoint after half of them, MB", "{:,.1f}"),
    Column("checkpoint_mb", "after all, MB", "{:,.1f}"),
    Column("checkpoint_files_half", "files after half"),
    Column("checkpoint_files", "after all"),
    Column("table_bytes_per_event", "recent_brands, bytes an event", "{:,.1f}"),
    Column("written_per_event", "written in all, bytes an event"),
)
_SAMPLE_SECONDS = 1
Sample = Mapping[str, float]


def growth_table(testbed: Testbed) -> Table:
    """Return the table of the speed layer at 1,000 events a second, for the scale's number of micro-batches."""
    users = testbed.scale.known_users[0]
    cases = [Case(f"{users:,} users known", partial(_growth_run, testbed, users), repetitions=1)]
    return Table("growth", "Files after many micro-batches", cases, COLUMNS, "", PACKAGES, "1,000 events a second")


def main() -> None:
    """Parse the options, run the speed layer for that many micro-batches, and print a sample a second."""
    options = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    options.add_argument("--users", type=int, required=True)
    options.add_argument("--batches", type=int, required=True)
    args = options.parse_args()
    settings = load_settings()
    first = sample(settings)
    with running_process(job("speed_stream")), running_process(offer(settings, args.users)):
        while (now := sample(settings))["batches"] < first["batches"] + args.batches:
            counts = {name: now[name] - first[name] for name in ("batches", "events")}
            print(json.dumps({**now, **counts}))
            time.sleep(_SAMPLE_SECONDS)


def sample(settings: Settings) -> Sample:
    """Return the numbers of micro-batches and events so far, and the sizes of checkpoint and table."""
    checkpoint = Path(checkpoints.speed_checkpoint(settings.data_root))
    table = Path(settings.data_root, "recent_brands")
    return {
        "batches": max(int(file.name) for file in (checkpoint / "commits").iterdir() if file.name.isdigit()),
        "events": received_count(str(checkpoint)),
        "checkpoint_bytes": tree_bytes(checkpoint),
        "checkpoint_files": sum(file.is_file() for file in checkpoint.rglob("*")),
        "table_bytes": tree_bytes(table) - tree_bytes(checkpoint),
    }


def _growth_run(testbed: Testbed, users: int, _: Path) -> Run:
    environment = testbed.known_users(users, {})
    command = [sys.executable, "-m", "bench.growth", "--users", str(users)]
    command += ["--batches", str(testbed.scale.growth_batches)]

    def figures(measured: Measurement) -> Figures:
        samples = [json.loads(line) for line in measured.output.splitlines()]
        if testbed.scale.is_published:
            draw(samples, CHART)
        return summary(samples, measured.usage().written_bytes)

    return Run(command, environment, figures)


def summary(samples: Sequence[Sample], written_bytes: int) -> Figures:
    """Return the figures of the table from the samples of a run."""
    first, half, last = samples[0], samples[len(samples) // 2], samples[-1]
    events = last["events"] - first["events"]
    return {
        "batches": last["batches"],
        "events": events,
        "checkpoint_mb_half": half["checkpoint_bytes"] / 1e6,
        "checkpoint_mb": last["checkpoint_bytes"] / 1e6,
        "checkpoint_files_half": half["checkpoint_files"],
        "checkpoint_files": last["checkpoint_files"],
        "table_bytes_per_event": (last["table_bytes"] - first["table_bytes"]) / events,
        "written_per_event": written_bytes / events,
    }


def draw(samples: Sequence[Sample], path: Path) -> None:
    """Draw the sizes over the micro-batches."""
    names = {"checkpoint_bytes": "checkpoint with state", "table_bytes": "recent_brands"}
    rows = pd.DataFrame(samples).rename(columns=names).melt("batches", list(names.values()), "folder", "bytes")
    rows["MB"] = rows["bytes"] / 1e6
    chart = altair.Chart(rows).mark_line()
    chart = chart.encode(
        altair.X("batches", title="micro-batches"),
        altair.Y("MB", title="MB on disk"),
        altair.Color("folder", title=None),
    )
    chart.properties(width=640, height=240).save(path)


if __name__ == "__main__":
    main()
