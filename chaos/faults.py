"""The faults of a campaign: each kills a process of a running pipeline with `kill -9`."""

from collections.abc import Callable
from random import Random

import psutil

from chaos.pipeline import Pipeline
from lambda_spark.local.broker import PID_FILE, start_broker
from lambda_spark.local.processes import running_pid

# Kills a process and returns its name; None if there was none to kill at that moment.
Fault = Callable[[Pipeline, Random], str | None]


def kill_driver(job: str) -> Fault:
    """Return the fault that kills either the Java or the Python of a job's driver, and leaves the other one alone."""

    def kill(pipeline: Pipeline, chance: Random) -> str | None:
        processes = [each for each in pipeline.jobs[job].processes() if _is_of_driver(each)]
        return _kill(chance.choice(processes)) if processes else None

    return kill


def kill_python_worker(pipeline: Pipeline, chance: Random) -> str | None:
    """Kill a Python worker of any job's tasks."""
    return _kill_one(pipeline, chance, "pyspark.daemon", "pyspark.worker")


def kill_executor(pipeline: Pipeline, chance: Random) -> str | None:
    """Kill an executor of any job; the cluster starts another one."""
    return _kill_one(pipeline, chance, "CoarseGrainedExecutorBackend")


def kill_broker(pipeline: Pipeline, _: Random) -> str | None:
    """Kill the broker, and start it again on its data."""
    pid = running_pid(pipeline.location.broker / PID_FILE)
    if pid is None:
        return None
    broker = psutil.Process(pid)
    killed = _kill(broker)
    broker.wait()
    start_broker(pipeline.location.bootstrap_servers, pipeline.location.broker)
    return killed


def kill_replay(pipeline: Pipeline, _: Random) -> str | None:
    """Kill the replay that feeds the topic."""
    processes = pipeline.jobs["replay"].processes()
    return _kill(processes[0]) if processes else None


FAULTS: dict[str, Fault] = {
    "driver of ingest": kill_driver("ingest_events"),
    "driver of the speed layer": kill_driver("speed_stream"),
    "driver of a batch job": kill_driver("batch"),
    "Python worker": kill_python_worker,
    "broker": kill_broker,
    "replay": kill_replay,
}
# If the jobs run on a cluster.
CLUSTER_FAULTS = {**FAULTS, "executor": kill_executor}


def _is_of_driver(process: psutil.Process) -> bool:
    return _has(process, "SparkSubmit") or (_has(process, "jobs/") and not _has(process, "pyspark.daemon"))


def _kill_one(pipeline: Pipeline, chance: Random, *words: str) -> str | None:
    processes = [each for each in pipeline.processes() if _has(each, *words)]
    return _kill(chance.choice(processes)) if processes else None


def _has(process: psutil.Process, *words: str) -> bool:
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:  # it has ended by now
        return False
    return any(word in line for word in words)


def _kill(process: psutil.Process) -> str | None:
    try:
        name: str = process.name()
        process.kill()
    except psutil.NoSuchProcess:
        return None
    return name
