"""`python -m bench.freshness`: the time from sending an event until a reader of the merged brands sees it.

Runs the speed layer with its defaults and a second process that offers events, and polls the reader. The data root and
the topic are those of the settings. Prints a line of JSON. The table adds the cost of a micro-batch by the number of
known users, and the size of the checkpoint.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from bench.brand_lists import MergedBrands
from bench.case import Case, Column, Figures, Run, Table
from bench.offer import RATE
from bench.process import BenchError, Measurement, job
from bench.progress import committed_progress
from bench.results import last_figures
from bench.testbed import EVENTS_PER_KNOWN_USER, Testbed
from lambda_spark.local.processes import running_process
from lambda_spark.settings import Settings, load_settings
from lambda_spark.speed import checkpoints
from lambda_spark.speed.checkpoints import received_count

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
# Environment variable -> value
Overrides = Mapping[str, str]

_POLL_SECONDS = 0.02
# Limits for the first event to become visible, and for the last one after the measured seconds.
_FIRST_SECONDS = 120
_LATE_SECONDS = 10


class Sighting(NamedTuple):
    """The times at which an event was sent and seen, in seconds since 1970."""

    sent_at: float
    seen_at: float


def freshness_table(testbed: Testbed) -> Table:
    """Return the table of 1,000 events a second, by the number of known users."""
    data = f"{EVENTS_PER_KNOWN_USER} events a user before, all in `user_brands`"
    seconds = (testbed.scale.probe_warm_up_seconds, testbed.scale.probe_seconds)
    cases = [
        Case(
            f"{users:,} users known",
            partial(probe_run, testbed, users, {}, seconds),
            "",
            testbed.scale.long_repetitions,
        )
        for users in testbed.scale.known_users
    ]
    return Table("freshness", "From sent to visible, 1,000 events/s offered", cases, COLUMNS, "", PACKAGES, data)


def probe_run(testbed: Testbed, users: int, overrides: Overrides, seconds: tuple[int, int], _: Path) -> Run:
    """Return a run with so many known users; `seconds` are those of the warm-up and of the measurement.

    Runs with the same users and settings continue on the same tables.
    """
    environment = testbed.known_users(users, overrides)
    command = [sys.executable, "-m", "bench.freshness", "--users", str(users)]
    command += ["--warm-up", str(seconds[0]), "--seconds", str(seconds[1])]
    checkpoint = Path(checkpoints.speed_checkpoint(environment["LAMBDA_DATA_ROOT"]))

    def figures(measured: Measurement) -> Figures:
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
    """Return the size of all files in a folder that another process may be changing."""
    size = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += file.stat().st_size if file.is_file() else 0
    return size


def main() -> None:
    """Parse the options, measure, and print the figures."""
    args = probe_options("bench.freshness", __doc__)
    settings = load_settings()
    checkpoint = checkpoints.speed_checkpoint(settings.data_root)
    before = received_count(checkpoint)
    with running_process(job("speed_stream")) as stream, running_process(offer(settings, args.users)):
        seen = follow(settings.data_root, stream, args.warm_up, args.seconds)
    events = received_count(checkpoint) - before
    print(json.dumps({**figures(Path(checkpoint), seen, args.seconds), "events": events}))


def probe_options(module: str, doc: str | None) -> argparse.Namespace:
    """Parse the options of a probe: the number of known users, the seconds of warm-up and of measurement."""
    options = argparse.ArgumentParser(prog=f"python -m {module}", description=doc)
    options.add_argument("--users", type=int, required=True, help="number of known users")
    options.add_argument("--warm-up", type=float, required=True, help="seconds that do not count")
    options.add_argument("--seconds", type=float, required=True, help="seconds that count")
    return options.parse_args()


def offer(settings: Settings, users: int) -> list[str]:
    """Return the command of the process that offers events until it is stopped."""
    command = [sys.executable, "-m", "bench.offer", "--bootstrap-servers", settings.kafka.bootstrap_servers]
    return [*command, "--topic", settings.kafka.topic, "--users", str(users)]


def follow(root: str, stream: "subprocess.Popen[bytes]", warm_up: float, seconds: float) -> list[Sighting]:
    """Poll the reader; return each event of the seconds after the warm-up with the time at which it became visible.

    An event's time is when it is sent, and a user's events come in order, so an event newer than the newest one seen of
    its user has become visible. The warm-up starts with the first event seen. Raises BenchError if the stream ends.
    """
    reader, began_at = MergedBrands(root), time.time()
    newest: dict[int, float] = {}
    sightings: list[Sighting] = []
    until = began_at + _FIRST_SECONDS
    while time.time() < until + (_LATE_SECONDS if sightings else 0):
        if stream.poll() is not None:
            raise BenchError(f"The speed layer has ended with {stream.returncode} while it was measured.")
        for user_id, brands in reader.refresh():
            dates = [at / 1e6 for at in brands.values() if at / 1e6 > newest.get(user_id, began_at)]
            sightings += [Sighting(sent_at, time.time()) for sent_at in dates]
            newest[user_id] = max([newest.get(user_id, began_at), *dates])
        if sightings:
            until = sightings[0].seen_at + warm_up + seconds
        time.sleep(_POLL_SECONDS)
    return [sighting for sighting in sightings if until - seconds <= sighting.sent_at < until]


def figures(checkpoint: Path, seen: Sequence[Sighting], seconds: float) -> dict[str, float]:
    """Return milliseconds from sent to visible and per micro-batch, and the percentage of events seen.

    Raises BenchError if none was seen.
    """
    if not seen:
        raise BenchError(f"No event became visible within {_FIRST_SECONDS} seconds.")
    ages = [1e3 * (sighting.seen_at - sighting.sent_at) for sighting in seen]
    commits = [entry.at for entry in committed_progress(str(checkpoint))]
    counted = [at for at in commits if seen[0].sent_at <= at <= seen[-1].seen_at]
    return {
        "median_ms": median(ages),
        "p95_ms": quantiles(ages, n=20)[-1],
        "batch_ms": 1e3 * median(later - earlier for earlier, later in pairwise(counted)),
        "batches": len(counted),
        "seen_percent": 100 * len(ages) / (RATE * seconds),
    }


if __name__ == "__main__":
    main()
