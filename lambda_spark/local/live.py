"""`make live`: broker, replay, both streams and the server together, for a person to watch; Ctrl-C ends all of them.

Each run starts from scratch, with a new topic and new tables in data/runs/live.
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
from lambda_spark.local.broker import settings_broker
from lambda_spark.local.demo import MONTH
from lambda_spark.local.processes import start_daemon, stop_daemon, wait_until
from lambda_spark.local.synthetic import write_month
from lambda_spark.report.console import make_console
from lambda_spark.settings import PROJECT_ROOT, Settings
from lambda_spark.speed import checkpoints

# A day in ten seconds: some thousand events a second of the generated month.
SPEED = 8_640.0
_START_SECONDS, _POLL_SECONDS = 180, 0.5
_STREAMS = ("ingest_events", "speed_stream")
Processes = dict[str, Popen[bytes]]


def main() -> None:
    """Parse the options and run everything until Ctrl-C."""
    options = argparse.ArgumentParser(prog="python -m lambda_spark.local.live", description=__doc__)
    options.add_argument("--events", nargs="+", type=Path, help="event files or folders (default: a generated month)")
    options.add_argument("--speed", type=float, default=SPEED, help=f"so many times event time (default: {SPEED:,.0f})")
    args = options.parse_args()
    given = cli.load(args)
    settings = run_settings(given, os.getpid())
    shutil.rmtree(settings.data_root, ignore_errors=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = make_console()
    with settings_broker(settings), temporary_topic(settings):
        files = args.events or [_generated_month(given.local_root, console)]
        with running(settings, files, args.speed, console) as processes:
            watch(processes, settings, console)


def run_settings(settings: Settings, number: int) -> Settings:
    """Return settings with a data root and a topic for this run only."""
    root = settings.local_root / "runs" / "live"
    kafka = settings.kafka.model_copy(update={"topic": f"{settings.kafka.topic}-live-{number}"})
    return settings.model_copy(update={"data_root": str(root), "kafka": kafka})


@contextmanager
def temporary_topic(settings: Settings) -> Iterator[None]:
    """Create the topic for the block, and delete it afterwards."""
    ensure_topic(settings.kafka)
    try:
        yield
    finally:
        delete_topic(settings.kafka)


@contextmanager
def running(settings: Settings, files: Sequence[Path], speed: float, console: Console) -> Iterator[Processes]:
    """Run the server, both streams and, once these have started, the replay; stop all of them after the block."""
    folder, processes = settings.local_root / "processes", Processes()
    variables = _variables(settings)

    def start(name: str, *command: str) -> None:
        process = start_daemon(folder / f"{name}.pid", lambda: [sys.executable, *command], variables)
        assert process is not None, "no other run uses the folder"
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
    """Wait until both streams have started. Raises SetUpError if a process ends."""
    started = [
        Path(find(settings.data_root)) / "metadata"
        for find in (checkpoints.ingest_checkpoint, checkpoints.speed_checkpoint)
    ]
    wait_until(lambda: all(file.exists() for file in started) or bool(_ended(processes)), _START_SECONDS)
    _check(processes, settings)


def watch(processes: Processes, settings: Settings, console: Console) -> None:
    """Wait for Ctrl-C. Raises SetUpError if a process ends, other than a replay that has sent everything."""
    is_announced = False
    while True:
        time.sleep(_POLL_SECONDS)
        _check(processes, settings)
        if not is_announced and processes["replay"].poll() == 0:
            is_announced = True
            console.print("All events are in the topic; the page stays until Ctrl-C.")


def _check(processes: Processes, settings: Settings) -> None:
    for name in _ended(processes):
        log = settings.local_root / "processes" / f"{name}.log"
        lines = log.read_text(errors="replace").strip().splitlines()
        raise SetUpError(f"{name} has ended: {lines[-1] if lines else 'no output'} (all of its output: {log})")


def _ended(processes: Processes) -> list[str]:
    """Return the names of the processes that have ended, without a replay that succeeded."""
    ended = {name: process.poll() for name, process in processes.items()}
    return [name for name, code in ended.items() if code is not None and (name, code) != ("replay", 0)]


def _variables(settings: Settings) -> Mapping[str, str]:
    return {
        "LAMBDA_DATA_ROOT": settings.data_root,
        "LAMBDA_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "LAMBDA_KAFKA__TOPIC": settings.kafka.topic,
    }


def _generated_month(folder: Path, console: Console) -> Path:
    month = folder / MONTH
    if not month.exists():
        with console.status("Generating a month of events ..."):
            write_month(month)
    return month


if __name__ == "__main__":
    cli.run(main)
