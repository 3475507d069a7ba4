"""A Spark standalone cluster on this machine, for `--master spark://…`: a master and two workers, each its own process.

`python -m lambda_spark.local.cluster start` and `stop`. SPARK_MASTER_PORT and SPARK_MASTER_WEBUI_PORT choose
where it listens, as for Spark itself. Own code: the pyspark package comes without Spark's sbin/start-all.sh.
"""

import argparse
import json
import os
import sys
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import pyspark

from lambda_spark.errors import LambdaSparkError, SetUpError
from lambda_spark.local.processes import start_daemon, stop_daemon, wait_until
from lambda_spark.settings import RUNTIME

HOST = "127.0.0.1"
MASTER, WORKERS = "master.pid", ("worker-1.pid", "worker-2.pid")
DIRECTORY = RUNTIME / "cluster"
_DEPLOY = "org.apache.spark.deploy"
_SPARK_CLASS = Path(pyspark.__file__).parent / "bin" / "spark-class"

# Two jobs at once fit into a worker; without a limit per job (defaultCores) the first would take all cores.
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
    """Start what isn't running yet, with pid files, logs and work in `directory`; wait until the workers registered.

    Returns False if all of it was running already. Raises SetUpError if it doesn't start.
    """
    address = f"spark://{HOST}:{port}"
    ports = ["--port", str(port), "--webui-port", str(page_port)]
    master = _start(directory / MASTER, "master.Master", *ports)
    workers = [
        _start(directory / name, "worker.Worker", *_WORKER_OPTIONS, "--work-dir", str(directory / "work"), address)
        for name in WORKERS
    ]
    try:
        if not wait_until(lambda: _registered_workers(page_port) == len(WORKERS), _START_SECONDS):
            raise SetUpError(
                f"The cluster did not start at {address}: see {directory / '*.log'}, or choose free ports in "
                "SPARK_MASTER_PORT and SPARK_MASTER_WEBUI_PORT."
            )
    except BaseException:  # Ctrl-C too must leave nothing behind
        stop_cluster(directory)
        raise
    return any([master, *workers])


def stop_cluster(directory: Path) -> bool:
    """Stop the workers, with their executors, and the master; return False if none was running."""
    stopped = [stop_daemon(directory / name) for name in (*WORKERS, MASTER)]
    return any(stopped)


def _start(pid_file: Path, name: str, *options: str) -> bool:
    command = [str(_SPARK_CLASS), f"{_DEPLOY}.{name}", "--host", HOST, *options]
    return start_daemon(pid_file, lambda: command, _OPTIONS) is not None


def _registered_workers(page_port: int) -> int:
    try:
        with urlopen(f"http://{HOST}:{page_port}/json/", timeout=5) as answer:
            return int(json.load(answer)["aliveworkers"])
    except (OSError, HTTPException, ValueError, KeyError):
        return 0


def main() -> None:
    """Start or stop the cluster, and print what was done."""
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
