"""The pipeline under test: a broker, a replay that feeds the topic, both streams, and batch jobs in a loop.

The jobs are processes that are restarted whenever they end, in local mode or on a standalone cluster.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

import psutil

from lambda_spark.local import cluster
from lambda_spark.local.broker import running_broker
from lambda_spark.local.install import spark_submit
from lambda_spark.local.processes import free_address, free_port, run_command, running_pid, start_process

# Small micro-batches, so that a kill can hit many of them.
_SMALL_BATCHES = {
    "LAMBDA_INGEST__TRIGGER": "1 second",
    "LAMBDA_INGEST__MAX_MESSAGES_PER_TRIGGER": "2000",
    "LAMBDA_SPEED__MAX_MESSAGES_PER_TRIGGER": "1000",
    "LAMBDA_SPEED__SHARDS": "4",
}
STREAMS = ("ingest_events", "speed_stream")
BATCH_JOBS = ("batch_trends", "batch_brands", "recommend")

_PAUSE_SECONDS = 1
_STOP_SECONDS = 120


class Location(NamedTuple):
    """Where a pipeline runs: its folder, with the broker's data in it, and the broker's address."""

    folder: Path
    bootstrap_servers: str

    @property
    def root(self) -> str:
        """Return the data root."""
        return str(self.folder / "data")

    @property
    def broker(self) -> Path:
        """Return the broker's folder."""
        return self.folder / "broker"

    @property
    def cluster(self) -> Path:
        """Return the folder of the cluster's processes."""
        return self.folder / "cluster"

    def environment(self) -> dict[str, str]:
        """Return the environment variables by which jobs read and write there."""
        return _SMALL_BATCHES | {
            "LAMBDA_DATA_ROOT": self.root,
            "LAMBDA_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
        }


class SupervisedJob:
    """Runs commands in a loop until it is stopped or, with `once`, until one succeeds.

    The output of each is in a file named after the job and the number of the start.
    """

    def __init__(
        self, name: str, commands: Sequence[Sequence[str]], environment: Mapping[str, str], logs: Path, once: bool
    ) -> None:
        self._name, self._commands, self._environment, self._logs, self._once = name, commands, environment, logs, once
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def processes(self) -> list[psutil.Process]:
        """Return the running process, first, and its descendants; an empty list while it is being started."""
        try:
            root = psutil.Process(self._process.pid if self._process else -1)
            return [root, *root.children(recursive=True)]
        except (psutil.NoSuchProcess, ValueError):
            return []

    def wait(self, seconds: float) -> bool:
        """Wait at most so long until a job with `once` is done; return whether it is."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ask the process to end, and start no more."""
        self._is_over.set()
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._thread.join(_STOP_SECONDS)
        for process in self.processes():
            process.kill()

    def _run(self) -> None:
        for number in count():
            command = self._commands[number % len(self._commands)]
            with (self._logs / f"{self._name}-{number}.log").open("wb") as log:
                self._process = start_process(command, self._environment, stdout=log, stderr=log)
                exit_code = self._process.wait()
            if self._is_over.is_set() or (self._once and exit_code == 0):
                return
            self._is_over.wait(_PAUSE_SECONDS)


class Pipeline(NamedTuple):
    """The running jobs at a location, by name."""

    location: Location
    jobs: Mapping[str, SupervisedJob]

    def processes(self) -> list[psutil.Process]:
        """Return the processes of all jobs, and of their executors on a cluster."""
        workers = [running_pid(self.location.cluster / name) for name in cluster.WORKERS]
        of_executors = [each for pid in workers if pid for each in psutil.Process(pid).children(recursive=True)]
        return [each for job in self.jobs.values() for each in job.processes()] + of_executors


@contextmanager
def open_location(folder: Path) -> Iterator[Location]:
    """Start a broker in the folder, which stays after the block."""
    location = Location(folder, free_address())
    with running_broker(location.bootstrap_servers, location.broker):
        yield location


@contextmanager
def running_pipeline(location: Location, events: Path, speed: float, *, on_cluster: bool) -> Iterator[Pipeline]:
    """Run all jobs inside the block, with the file's events replayed at `speed` times their event time."""
    logs = location.folder / "logs"
    logs.mkdir(parents=True)
    with _submit_options(location.cluster, on_cluster) as options:
        environment = location.environment()
        jobs = {
            "replay": SupervisedJob("replay", [replay(events, "--speed", str(speed))], environment, logs, once=True)
        }
        loops = {name: [submit(name, options)] for name in STREAMS}
        loops["batch"] = [submit(name, options) for name in BATCH_JOBS]
        jobs |= {name: SupervisedJob(name, commands, environment, logs, once=False) for name, commands in loops.items()}
        try:
            yield Pipeline(location, jobs)
        finally:
            for job in jobs.values():
                job.stop()


@contextmanager
def _submit_options(folder: Path, on_cluster: bool) -> Iterator[list[str]]:
    """Start a cluster if `on_cluster`; yield the options by which a job runs there, or none."""
    if not on_cluster:
        yield []
        return
    port = free_port()
    cluster.start_cluster(folder, port, free_port())
    try:
        # One core per job, so that all jobs run at once.
        yield ["--master", f"spark://{cluster.HOST}:{port}", "--conf", "spark.cores.max=1"]
    finally:
        cluster.stop_cluster(folder)


def finish(location: Location) -> None:
    """Read the topic to its end with both streams, and run the batch layer. Raises CommandError."""
    run_command([spark_submit(), "chaos/finish.py"], location.environment())


def submit(job: str, options: Sequence[str]) -> list[str]:
    """Return the command that runs a job by spark-submit with these options."""
    return [spark_submit(), *options, f"jobs/{job}.py"]


def replay(events: Path, *options: str) -> Sequence[str]:
    """Return the command that replays the events, without Spark."""
    return [sys.executable, "jobs/replay_events.py", str(events), *options]
