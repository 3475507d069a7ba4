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

from bench.marks import committed_marks
from bench.offer import RATE
from bench.process import BenchError, job
from bench.reader import MergedBrands
from lambda_spark import counts
from lambda_spark.settings import PROJECT_ROOT, Settings, load_settings

_POLL_SECONDS = 0.02
_QUIET_SECONDS = 15
_STOP_SECONDS = 60


def main() -> None:
    """Parse the options, measure, and print what was seen."""
    options = argparse.ArgumentParser(prog="python -m bench.probe", description=__doc__)
    options.add_argument("--users", type=int, required=True, help="so many are known")
    options.add_argument("--warm-up", type=float, required=True, help="seconds that do not count")
    options.add_argument("--seconds", type=float, required=True, help="seconds that count")
    args = options.parse_args()
    settings = load_settings()
    events = offer(settings, args.users, args.warm_up + args.seconds)
    with running(job("speed_stream")) as stream, running(events) as offering:
        since = time.time() + args.warm_up
        ages = list(follow(settings.data_root, offering, stream, since))
    print(json.dumps(figures(settings, ages, since, round(RATE * args.seconds))))


@contextmanager
def running(command: Sequence[str]) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a process inside the block, and ask it to end where it has not by itself."""
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_STOP_SECONDS)


def offer(settings: Settings, users: int, seconds: float) -> list[str]:
    """Return the command of the process that offers events."""
    command = [sys.executable, "-m", "bench.offer", "--bootstrap-servers", settings.kafka.bootstrap_servers]
    return [*command, "--topic", settings.kafka.topic, "--users", str(users), "--seconds", str(seconds)]


def follow(
    root: Path, offering: "subprocess.Popen[bytes]", stream: "subprocess.Popen[bytes]", since: float
) -> Iterator[float]:
    """Yield the age in seconds at which the reader sees each event that was sent after `since`.

    An event is dated when it is sent, and a user's events come in order, so what is newer than the newest date that was
    seen of a user is an event that has become visible. Ends when nothing has come for a while after the last offer.
    """
    reader, quiet_since = MergedBrands(root), time.monotonic()
    newest: dict[int, int] = {}
    while offering.poll() is None or time.monotonic() < quiet_since + _QUIET_SECONDS:
        if stream.poll() is not None:
            raise BenchError(f"The speed layer has ended with {stream.returncode} while it was measured.")
        changes = list(reader.refresh())
        now = time.time()
        for user_id, brands in changes:
            before = newest.get(user_id, round(since * 1e6))
            yield from (now - at / 1e6 for at in brands.values() if at > before)
            newest[user_id] = max(before, *brands.values())
            quiet_since = time.monotonic()
        time.sleep(_POLL_SECONDS)


def figures(settings: Settings, ages: Sequence[float], since: float, sent: int) -> dict[str, float]:
    """Return the figures: milliseconds from sent to visible and of a micro-batch, and the share of events seen."""
    batches = [mark.at for mark in committed_marks(counts.speed_checkpoint(settings.data_root)) if mark.at > since]
    between = [1e3 * (later - earlier) for earlier, later in pairwise(batches)]
    return {
        "median_ms": 1e3 * median(ages),
        "p95_ms": 1e3 * quantiles(ages, n=20)[-1],
        "batch_ms": median(between),
        "batches": len(batches),
        "seen_percent": 100 * len(ages) / sent,
    }


if __name__ == "__main__":
    main()
