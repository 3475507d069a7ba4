"""A Spark standalone cluster on this machine, for `--master spark://…`: a master and two workers, each its own process.

`python -m lambda_spark.local.cluster start` and `stop`. SPARK_MASTER_PORT and SPARK_MASTER_WEBUI_PORT choose
where it listens, as for Spark itself.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import pyspark

from lambda_spark.errors import LambdaSparkError, SetUpError
from lambda_spark.local.daemons import becomes_true, start_daemon, stop_daemon
from lambda_spark.settings import RUNTIME

HOST = "127.0.0.1"
MASTER, WORKERS = "master.pid", ("worker-1.pid", "worker-2.pid")
DIRECTORY = RUNTIME / "cluster"
_DEPLOY = "org.apache.spark.deploy"
_SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"

# Each worker offers what two jobs at once take of it; unless told otherwise, a job would take all there is.
_WORKER_OPTIONS = ["--cores", "2", "--memory", "2g", "--webui-port", "0"]

_OPTIONS = {
    "SPARK_LOCAL_IP": HOST,
    "SPARK_DAEMON_MEMORY": "256m",
    # The workers outlive ten minutes in which this machine sleeps.
    "SPARK_MASTER_OPTS": "-Dspark.deploy.defaultCores=2 -Dspark.port.maxRetries=0 -Dspark.worker.timeout=600",
    "SPARK_WORKER_OPTS": "-Dspark.worker.cleanup.enabled=true",
}

_START_SECONDS = 120


def start_cluster(directory: Path, port: int, page_port: int) -> bool:
    """Start what does not run yet, with pid files, logs and work in `directory`; wait until the workers are known.

    Returns False where all of it ran already. Raises SetUpError where it does not come up.
    """
    address = f"spark://{HOST}:{port}"
    ports = ["--port", str(port), "--webui-port", str(page_port)]
    master = _start(directory / MASTER, "master.Master", *ports)
    workers = [
        _start(directory / name, "worker.Worker", *_WORKER_OPTIONS, "--work-dir", str(directory / "work"), address)
        for name in WORKERS
    ]
    try:
        if not becomes_true(lambda: _known_workers(page_port) == len(WORKERS), _START_SECONDS):
            raise SetUpError(
                f"The cluster did not start at {address}: see {directory / '*.log'}, or choose free ports in "
                "SPARK_MASTER_PORT and SPARK_MASTER_WEBUI_PORT."
            )
    except BaseException:  # Ctrl-C too must leave nothing behind
        stop_cluster(directory)
        raise
    return any([master, *workers])


def stop_cluster(directory: Path) -> bool:
    """Stop the workers, with their executors, and the master; returns False where none ran."""
    stopped = [stop_daemon(directory / name) for name in (*WORKERS, MASTER)]
    return any(stopped)


def _start(pid_file: Path, name: str, *options: str) -> bool:
    command = [str(_SPARK_CLASS), f"{_DEPLOY}.{name}", "--host", HOST, *options]
    environment: Mapping[str, str] = {**os.environ, **_OPTIONS}
    return start_daemon(pid_file, lambda: command, environment) is not None


def _known_workers(page_port: int) -> int:
    try:
        with urlopen(f"http://{HOST}:{page_port}/json/", timeout=5) as answer:
            return int(json.load(answer)["aliveworkers"])
    except (OSError, HTTPException, ValueError, KeyError):
        return 0


def main() -> None:
    """Start or stop the cluster, and say what was done."""
    parser = argparse.ArgumentParser(prog="python -m lambda_spark.local.cluster", description="A local Spark cluster.")
    parser.add_argument("action", choices=["start", "stop"])
    if parser.parse_args().action == "stop":
        print("The cluster is stopped." if stop_cluster(DIRECTORY) else "No local cluster was running.")
        return
    port, page_port = (
        int(os.environ.get(name, default))
        for name, default in (("SPARK_MASTER_PORT", 7077), ("SPARK_MASTER_WEBUI_PORT", 8080))
    )
    started = start_cluster(DIRECTORY, port, page_port)
    is_running = "is running" if started else "was running already"
    print(f"The cluster {is_running} at spark://{HOST}:{port}, with a page at http://{HOST}:{page_port}.")


if __name__ == "__main__":
    try:
        main()
    except LambdaSparkError as error:
        sys.exit(str(error))
