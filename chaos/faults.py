"""The faults of a campaign: each kills something of a running pipeline at once, without a word of warning."""

from collections.abc import Callable
from random import Random

import psutil

from chaos.pipeline import Running
from lambda_spark.local.broker import PID_FILE, start_broker
from lambda_spark.local.processes import running_pid

# Kills, and says what; None where there was nothing to kill at that moment.
Fault = Callable[[Running, Random], str | None]


def kill_driver(job: str) -> Fault:
    """Kill the driver of a job: either its Java or its Python, and the other one is left as it is."""

    def kill(running: Running, chance: Random) -> str | None:
        processes = [each for each in running.jobs[job].processes() if _is_of_driver(each)]
        return _kill(chance.choice(processes)) if processes else None

    return kill


def kill_python_worker(running: Running, chance: Random) -> str | None:
    """Kill a Python that works for a task of any job."""
    return _kill_one(running, chance, "pyspark.daemon", "pyspark.worker")


def kill_executor(running: Running, chance: Random) -> str | None:
    """Kill an executor of any job; the cluster starts another one."""
    return _kill_one(running, chance, "CoarseGrainedExecutorBackend")


def kill_broker(running: Running, _: Random) -> str | None:
    """Kill the broker, and start it again on what it has written."""
    pid = running_pid(running.place.broker / PID_FILE)
    if pid is None:
        return None
    broker = psutil.Process(pid)
    killed = _kill(broker)
    broker.wait()
    start_broker(running.place.bootstrap_servers, running.place.broker)
    return killed


def kill_replay(running: Running, _: Random) -> str | None:
    """Kill the replay that feeds the topic."""
    processes = running.jobs["replay"].processes()
    return _kill(processes[0]) if processes else None


FAULTS: dict[str, Fault] = {
    "driver of ingest": kill_driver("ingest_events"),
    "driver of the speed layer": kill_driver("speed_stream"),
    "driver of a batch job": kill_driver("batch"),
    "Python worker": kill_python_worker,
    "broker": kill_broker,
    "replay": kill_replay,
}
# Where the jobs run on a cluster.
CLUSTER_FAULTS = {**FAULTS, "executor": kill_executor}


def _is_of_driver(process: psutil.Process) -> bool:
    return _has(process, "SparkSubmit") or (_has(process, "jobs/") and not _has(process, "pyspark.daemon"))


def _kill_one(running: Running, chance: Random, *words: str) -> str | None:
    processes = [each for each in running.processes() if _has(each, *words)]
    return _kill(chance.choice(processes)) if processes else None


def _has(process: psutil.Process, *words: str) -> bool:
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:  # it has ended meanwhile
        return False
    return any(word in line for word in words)


def _kill(process: psutil.Process) -> str | None:
    try:
        name: str = process.name()
        process.kill()
    except psutil.NoSuchProcess:
        return None
    return name
