"""The pipeline as a shop runs it: a broker, a replay that feeds the topic, both streams, and batch jobs in a circle.

Its jobs run in local mode, or on a standalone cluster of their own.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from bench.process import run_unmeasured
from bench.stage import free_port
from chaos.supervised import Supervised
from lambda_spark.local import cluster
from lambda_spark.local.broker import running_broker
from lambda_spark.local.install import spark_submit
from lambda_spark.local.processes import running_pid

# Small ones, so that many micro-batches may be hit.
_SMALL = {
    "LAMBDA_INGEST__TRIGGER": "1 second",
    "LAMBDA_INGEST__MAX_MESSAGES_PER_TRIGGER": "2000",
    "LAMBDA_SPEED__MAX_MESSAGES_PER_TRIGGER": "1000",
    "LAMBDA_SPEED__SHARDS": "4",
}
STREAMS = ("ingest_events", "speed_stream")
BATCH_JOBS = ("batch_trends", "batch_brands", "recommend")


class Place(NamedTuple):
    """Where a pipeline runs: a folder of its own, and the broker's address and folder below it."""

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
        """Return the environment in which the jobs read and write there."""
        return _SMALL | {"LAMBDA_DATA_ROOT": self.root, "LAMBDA_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers}


class Running(NamedTuple):
    """What runs at a place, by the names of the jobs."""

    place: Place
    jobs: Mapping[str, Supervised]

    def processes(self) -> list[psutil.Process]:
        """Return the processes of all jobs, and of their executors on a cluster."""
        workers = [running_pid(self.place.cluster / name) for name in cluster.WORKERS]
        of_executors = [each for pid in workers if pid for each in psutil.Process(pid).children(recursive=True)]
        return [each for job in self.jobs.values() for each in job.processes()] + of_executors


@contextmanager
def open_place(folder: Path) -> Iterator[Place]:
    """Start a broker of the place's own; the folder stays."""
    place = Place(folder, f"127.0.0.1:{free_port()}")
    with running_broker(place.bootstrap_servers, place.broker):
        yield place


@contextmanager
def running(place: Place, events: Path, speed: float, *, on_cluster: bool) -> Iterator[Running]:
    """Run all of it inside the block, the file's events at a multiple of their own time."""
    logs = place.folder / "logs"
    logs.mkdir(parents=True)
    with _submit_options(place.cluster, on_cluster) as options:
        environment = place.environment()
        jobs = {"replay": Supervised("replay", [replay(events, "--speed", str(speed))], environment, logs, once=True)}
        circles = {name: [submit(name, options)] for name in STREAMS}
        circles["batch"] = [submit(name, options) for name in BATCH_JOBS]
        jobs |= {name: Supervised(name, commands, environment, logs, once=False) for name, commands in circles.items()}
        try:
            yield Running(place, jobs)
        finally:
            for job in jobs.values():
                job.stop()


@contextmanager
def _submit_options(folder: Path, on_cluster: bool) -> Iterator[list[str]]:
    """Start a cluster if one is wanted; yield the options by which a job runs there, or none."""
    if not on_cluster:
        yield []
        return
    port = free_port()
    cluster.start_cluster(folder, port, free_port())
    try:
        # A core each, so that all jobs find one at once.
        yield ["--master", f"spark://{cluster.HOST}:{port}", "--conf", "spark.cores.max=1"]
    finally:
        cluster.stop_cluster(folder)


def finish(place: Place) -> None:
    """Let both streams read the topic to its end and the batch layer compute once more. Raises BenchError."""
    run_unmeasured([spark_submit(), "chaos/finish.py"], place.environment())


def submit(job: str, options: Sequence[str]) -> list[str]:
    """Return the command that runs a job by spark-submit, with options of the latter."""
    return [spark_submit(), *options, f"jobs/{job}.py"]


def replay(events: Path, *options: str) -> Sequence[str]:
    """Return the command that replays the events; it needs no Spark."""
    return [sys.executable, "jobs/replay_events.py", str(events), *options]
