"""How soon an event is visible, what a small micro-batch costs with how many users known, and what piles up."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from bench.case import Case, Column, Figures, Run, Table
from bench.process import Measured
from bench.results import last_figures
from bench.stage import EVENTS_PER_KNOWN_USER, Stage
from lambda_spark.speed import checkpoints

COLUMNS = (
    Column("median_ms", "visible after, median, ms"),
    Column("p95_ms", "95th percentile, ms"),
    Column("batch_ms", "a micro-batch, median, ms", has_ratio=True),
    Column("seen_percent", "events seen, %", "{:.1f}"),
    Column("checkpoint_mb", "checkpoint with state, MB", "{:,.1f}"),
    Column("state_bytes_per_user", "state per user, bytes"),
    Column("written_per_event", "written, bytes an event"),
    Column("peak_mb", "peak memory, MB"),
)
PACKAGES = ("pyspark", "delta-spark", "deltalake", "duckdb", "kafka-python")
# A setting of the environment -> its value
Overrides = Mapping[str, str]


def freshness_table(stage: Stage) -> Table:
    """1,000 events a second offered, so many users known: from sent to visible in the merged brands."""
    data = f"{EVENTS_PER_KNOWN_USER} events a user before, all in `user_brands`"
    seconds = (stage.scale.probe_warm_up_seconds, stage.scale.probe_seconds)
    cases = [
        Case(f"{users:,} users known", partial(probe_run, stage, users, {}, seconds), "", stage.scale.long_repetitions)
        for users in stage.scale.known_users
    ]
    return Table("freshness", "From sent to visible, 1,000 events/s offered", cases, COLUMNS, "", PACKAGES, data)


def probe_run(stage: Stage, users: int, overrides: Overrides, seconds: tuple[int, int], _: Path) -> Run:
    """Prepare a probe among so many known users, of that many seconds of warm-up and of measurement.

    Runs of the same users and settings go on from one another.
    """
    environment = stage.known_users(users, overrides)
    command = [sys.executable, "-m", "bench.probe", "--users", str(users)]
    command += ["--warm-up", str(seconds[0]), "--seconds", str(seconds[1])]
    checkpoint = Path(checkpoints.speed_checkpoint(environment["LAMBDA_DATA_ROOT"]))

    def figures(measured: Measured) -> Figures:
        seen, usage = last_figures(measured.output), measured.usage()
        return {
            **seen,
            "checkpoint_mb": tree_bytes(checkpoint) / 1e6,
            "state_bytes_per_user": tree_bytes(checkpoint / "state") / users,
            "peak_mb": usage.peak_bytes / 1e6,
            "written_per_event": usage.written_bytes / seen["events"],
        }

    return Run(command, environment, figures)


def tree_bytes(folder: Path) -> int:
    """Return the size of all files below a folder that another process may be changing."""
    size = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += file.stat().st_size if file.is_file() else 0
    return size
