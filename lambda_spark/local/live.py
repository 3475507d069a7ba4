"""`make live`: broker, replay, both streams and the server together, for a person to watch; Ctrl-C ends all of them.

Each time it begins anew, with a topic and tables of its own below data/runs/live.
"""

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

from rich.console import Console

from lambda_spark import cli
from lambda_spark.errors import SetUpError
from lambda_spark.kafka.client import delete_topic, ensure_topic
from lambda_spark.local.broker import broker_of
from lambda_spark.local.daemons import becomes_true, start_daemon, stop_daemon
from lambda_spark.local.demo import MONTH
from lambda_spark.local.synthetic import write_month
from lambda_spark.report.console import make_console
from lambda_spark.settings import PROJECT_ROOT, Settings
from lambda_spark.speed import checkpoints

# A day in ten seconds: some thousand events a second of the generated month.
SPEED = 8_640.0
_START_SECONDS, _LOOK_SECONDS = 180, 0.5
_STREAMS = ("ingest_events", "speed_stream")
Processes = dict[str, Popen[bytes]]


def main() -> None:
    """Parse the options and run all of it until Ctrl-C."""
    options = argparse.ArgumentParser(prog="python -m lambda_spark.local.live", description=__doc__)
    options.add_argument("--events", nargs="+", type=Path, help="event files or folders (default: a generated month)")
    options.add_argument("--speed", type=float, default=SPEED, help=f"so many times event time (default: {SPEED:,.0f})")
    args = options.parse_args()
    given = cli.load(args)
    settings = own_settings(given, os.getpid())
    shutil.rmtree(settings.data_root, ignore_errors=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = make_console()
    with broker_of(settings), own_topic(settings):
        files = args.events or [_generated(given.local_root, console)]
        with running(settings, files, args.speed, console) as processes:
            watch(processes, settings, console)


def own_settings(settings: Settings, number: int) -> Settings:
    """Return settings with tables and a topic of this run alone."""
    root = settings.local_root / "runs" / "live"
    kafka = settings.kafka.model_copy(update={"topic": f"{settings.kafka.topic}-live-{number}"})
    return settings.model_copy(update={"data_root": str(root), "kafka": kafka})


@contextmanager
def own_topic(settings: Settings) -> Iterator[None]:
    """Have the topic inside the block."""
    ensure_topic(settings.kafka)
    try:
        yield
    finally:
        delete_topic(settings.kafka)


@contextmanager
def running(settings: Settings, files: Sequence[Path], speed: float, console: Console) -> Iterator[Processes]:
    """Run the server, both streams, and, once these have begun, the replay; end all of them after the block."""
    folder, processes = settings.local_root / "processes", Processes()
    variables = _variables(settings)

    def start(name: str, *command: str) -> None:
        log = folder / f"{name}.pid"
        process = start_daemon(log, lambda: [sys.executable, *command], variables)
        assert process is not None, "the folder is of this run alone"
        processes[name] = process

    try:
        start("server", "-m", "lambda_spark.api")
        for name in _STREAMS:
            start(name, str(PROJECT_ROOT / "jobs" / f"{name}.py"))
        console.print(f"Watch it at http://{settings.serve.host}:{settings.serve.port}; Ctrl-C ends it.")
        with console.status("Both streams are starting ..."):
            wait_for_streams(processes, settings)
        start("replay", str(PROJECT_ROOT / "jobs" / "replay_events.py"), *map(str, files), "--speed", str(speed))
        console.print(f"Replaying {speed:,.0f} seconds of events a second.")
        yield processes
    finally:
        with console.status("Ending all of it ..."), ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: stop_daemon(folder / f"{name}.pid"), processes))


def wait_for_streams(processes: Processes, settings: Settings) -> None:
    """Wait until both streams have begun. Raises SetUpError where a process ends."""
    begun = [
        Path(find(settings.data_root)) / "metadata"
        for find in (checkpoints.ingest_checkpoint, checkpoints.speed_checkpoint)
    ]
    becomes_true(lambda: all(file.exists() for file in begun) or bool(_ended(processes)), _START_SECONDS)
    _check(processes, settings)


def watch(processes: Processes, settings: Settings, console: Console) -> None:
    """Wait for Ctrl-C. Raises SetUpError where a process ends but the replay, which may have sent all there is."""
    is_told = False
    while True:
        time.sleep(_LOOK_SECONDS)
        _check(processes, settings)
        if not is_told and processes["replay"].poll() == 0:
            is_told = True
            console.print("All events are in the topic; the page stays until Ctrl-C.")


def _check(processes: Processes, settings: Settings) -> None:
    for name in _ended(processes):
        log = settings.local_root / "processes" / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines()
        raise SetUpError(f"{name} has ended: {lines[-1] if lines else 'it said nothing'} (all of it: {log})")


def _ended(processes: Processes) -> list[str]:
    """Return the processes that have ended, but for a replay that has done all it had to."""
    ended = {name: process.poll() for name, process in processes.items()}
    return [name for name, code in ended.items() if code is not None and (name, code) != ("replay", 0)]


def _variables(settings: Settings) -> Mapping[str, str]:
    return {
        **os.environ,
        "LAMBDA_DATA_ROOT": settings.data_root,
        "LAMBDA_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "LAMBDA_KAFKA__TOPIC": settings.kafka.topic,
    }


def _generated(folder: Path, console: Console) -> Path:
    month = folder / MONTH
    if not month.exists():
        with console.status("Generating a month of events ..."):
            write_month(month)
    return month


if __name__ == "__main__":
    cli.run(main)
