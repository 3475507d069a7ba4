"""`python -m bench.probe`: how long an event takes from being sent to being visible to a reader of the merged brands.

Runs the speed layer as it is shipped and a second process that offers events, and polls the reader. The data root and
the topic are those of the settings. Prints a line of JSON with what was seen.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from bench.marks import committed_marks
from bench.offer import RATE
from bench.process import BenchError, job
from bench.reader import MergedBrands
from lambda_spark.settings import PROJECT_ROOT, Settings, load_settings
from lambda_spark.speed import checkpoints
from lambda_spark.speed.checkpoints import received_count

_POLL_SECONDS = 0.02
# So long for the first event to become visible, and for the last.
_PATIENCE_SECONDS = 120
_LATE_SECONDS = 10
_STOP_SECONDS = 60


class Sighting(NamedTuple):
    """An event: when it was sent and when it was seen, in seconds since 1970."""

    sent_at: float
    seen_at: float


def main() -> None:
    """Parse the options, measure, and print what was seen."""
    args = probe_options("bench.probe", __doc__)
    settings = load_settings()
    checkpoint = checkpoints.speed_checkpoint(settings.data_root)
    before = received_count(checkpoint)
    with running(job("speed_stream")) as stream, running(offer(settings, args.users)):
        seen = follow(settings.data_root, stream, args.warm_up, args.seconds)
    events = received_count(checkpoint) - before
    print(json.dumps({**figures(Path(checkpoint), seen, args.seconds), "events": events}))


def probe_options(module: str, doc: str | None) -> argparse.Namespace:
    """Parse what each probe is told: how many users are known, and how long to warm up and to measure."""
    options = argparse.ArgumentParser(prog=f"python -m {module}", description=doc)
    options.add_argument("--users", type=int, required=True, help="so many are known")
    options.add_argument("--warm-up", type=float, required=True, help="seconds that do not count")
    options.add_argument("--seconds", type=float, required=True, help="seconds that count")
    return options.parse_args()


@contextmanager
def running(command: Sequence[str]) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a process inside the block, and ask it to end where it has not by itself."""
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_STOP_SECONDS)


def offer(settings: Settings, users: int) -> list[str]:
    """Return the command of the process that offers events until it is ended."""
    command = [sys.executable, "-m", "bench.offer", "--bootstrap-servers", settings.kafka.bootstrap_servers]
    return [*command, "--topic", settings.kafka.topic, "--users", str(users)]


def follow(root: str, stream: "subprocess.Popen[bytes]", warm_up: float, seconds: float) -> list[Sighting]:
    """Poll the reader, and return each event of the seconds that follow the warm-up as it became visible.

    An event is dated when it is sent, and a user's events come in order, so what is newer than the newest date that was
    seen of a user has become visible. The warm-up begins with the first of all.
    """
    reader, began_at = MergedBrands(root), time.time()
    newest: dict[int, float] = {}
    sightings: list[Sighting] = []
    until = began_at + _PATIENCE_SECONDS
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
    """Return the figures: milliseconds from sent to visible and of a micro-batch, and the share of events seen.

    Raises BenchError where none was seen.
    """
    if not seen:
        raise BenchError(f"No event became visible within {_PATIENCE_SECONDS} seconds.")
    ages = [1e3 * (sighting.seen_at - sighting.sent_at) for sighting in seen]
    commits = [mark.at for mark in committed_marks(str(checkpoint))]
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
