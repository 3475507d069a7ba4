"""The local Kafka broker, one node in its own process: `python -m lambda_spark.broker start` and `stop`."""

import argparse
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen, run
from typing import IO

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from lambda_spark.errors import BrokerError, LambdaSparkError, SetUpError
from lambda_spark.java import JARS, JAVA
from lambda_spark.settings import PROJECT_ROOT, Settings, load_settings

CONFIG = PROJECT_ROOT / "conf" / "kafka-server.properties"
LOGGING = f"-Dlog4j2.configurationFile={PROJECT_ROOT / 'conf' / 'log4j2.properties'}"
RUN = [str(JAVA), "-Xmx512m", LOGGING, "-cp", str(JARS / "broker" / "*")]
# Any 16 bytes in base64 would do: there is only one cluster.
CLUSTER_ID = "bGFtYmRhLXNwYXJrLTAwMQ"
PID_FILE, LOG_FILE = "broker.pid", "broker.log"
START_SECONDS, STOP_SECONDS = 120, 30


def broker_directory(settings: Settings) -> Path:
    """Return the folder where the local broker keeps its data."""
    return settings.data_root / "broker"


def is_reachable(bootstrap: str) -> bool:
    """Tell whether a Kafka broker answers at `host:port` and is ready to take topics."""
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=1_000, request_timeout_ms=5_000)
    except (KafkaError, ValueError):  # a port that is no number
        return False
    try:
        return bool(admin.describe_cluster()["brokers"])
    except KafkaError:
        return False
    finally:
        admin.close()


def start_broker(bootstrap: str, directory: Path) -> bool:
    """Start a broker that keeps its data in `directory`, and wait until it answers at `bootstrap`.

    Returns False, and starts nothing, where one answers already. Raises BrokerError where none can be started, and
    SetUpError where its Java or jars are missing.
    """
    if is_reachable(bootstrap):
        return False
    port = _local_port(bootstrap)
    if not (JAVA.exists() and JARS.exists()):
        raise SetUpError("The Kafka broker's Java or jars are missing: run `make setup`.")
    (directory / "log").mkdir(parents=True, exist_ok=True)
    with (directory / PID_FILE).open("a") as pid_file:
        if not _lock(pid_file):
            raise BrokerError(f"A broker runs on {directory} but not at {bootstrap}: end it with `make broker-stop`.")
        pid_file.truncate(0)
        process = _launch(_configure(directory, port), directory, pid_file)
    try:
        _becomes_true(lambda: process.poll() is not None or is_reachable(bootstrap), START_SECONDS)
        if process.poll() is not None or not is_reachable(bootstrap):
            raise BrokerError(f"The Kafka broker did not start at {bootstrap}: see {directory / LOG_FILE}.")
    except BaseException:  # Ctrl-C too must leave nothing behind
        stop_broker(directory)
        raise
    return True


def stop_broker(directory: Path) -> bool:
    """Stop the broker that runs on `directory` and wait until it is gone; returns False where there is none."""
    pid = _running_pid(directory)
    if pid is None:
        return False
    for request in (signal.SIGTERM, signal.SIGKILL):
        os.kill(pid, request)
        if _becomes_true(lambda: _running_pid(directory) is None, STOP_SECONDS):
            break
    return True


@contextmanager
def running_broker(bootstrap: str, directory: Path) -> Iterator[bool]:
    """Have a broker at `bootstrap` inside the block: the one that answers there, or else one of its own.

    Yields whether it was started here; only then is it stopped at the end. Raises what `start_broker` raises.
    """
    started = start_broker(bootstrap, directory)
    try:
        yield started
    finally:
        if started:
            stop_broker(directory)


def _local_port(bootstrap: str) -> int:
    host, _, port = bootstrap.rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not port.isdigit():
        raise BrokerError(
            f"No Kafka broker answers at {bootstrap}: start it, "
            "or set LAMBDA_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:9092 for a local one."
        )
    return int(port)


def _free_port(port: int) -> int:
    """Return the port, or any free one for 0. Raises BrokerError where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just given back is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BrokerError(
                f"Port {port} is taken by something that is no Kafka broker: end that, or choose a free port "
                "in LAMBDA_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:PORT."
            ) from error
        return int(probe.getsockname()[1])


def _configure(directory: Path, port: int) -> Path:
    """Write the broker's configuration and, at the first start, its empty storage; return the configuration file."""
    listener, controller = f"127.0.0.1:{_free_port(port)}", f"127.0.0.1:{_free_port(0)}"
    config, log = directory / "server.properties", directory / "log"
    config.write_text(
        f"{CONFIG.read_text()}\nlog.dirs={log}\n"
        f"listeners=BROKER://{listener},CONTROLLER://{controller}\ncontroller.quorum.voters=1@{controller}\n"
    )
    if not (log / "meta.properties").exists():
        command = [*RUN, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", str(config)]
        done = run(command, check=False, stdout=PIPE, stderr=STDOUT, text=True)
        if done.returncode:
            raise BrokerError(f"The Kafka broker cannot keep its data in {log}: {done.stdout.strip()}")
    return config


def _launch(config: Path, directory: Path, pid_file: IO[str]) -> "Popen[bytes]":
    """Start the broker away from the terminal's Ctrl-C; it keeps the lock on its pid file for as long as it lives."""
    command, lock = [*RUN, "kafka.Kafka", str(config)], pid_file.fileno()
    with (directory / LOG_FILE).open("wb") as log:
        process = Popen(command, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True, pass_fds=[lock])
    pid_file.write(str(process.pid))
    return process


def _lock(pid_file: IO[str]) -> bool:
    try:
        fcntl.flock(pid_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _running_pid(directory: Path) -> int | None:
    """Return the broker's process id. Only the lock says that it lives: a pid alone may be stale, or another's."""
    if not (directory / PID_FILE).exists():
        return None
    with (directory / PID_FILE).open() as pid_file:
        text = "" if _lock(pid_file) else pid_file.read()
    return int(text) if text else None


def _becomes_true(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return met


def main() -> None:
    """Start or stop the broker of the settings, and say what was done."""
    parser = argparse.ArgumentParser(prog="python -m lambda_spark.broker", description="The local Kafka broker.")
    parser.add_argument("action", choices=["start", "stop"])
    action = parser.parse_args().action
    settings = load_settings()
    bootstrap, directory = settings.kafka.bootstrap_servers, broker_directory(settings)
    if action == "start":
        started = start_broker(bootstrap, directory)
        print(f"Kafka {'is running' if started else 'was running already'} at {bootstrap}.")
    else:
        print("Kafka is stopped." if stop_broker(directory) else "No local Kafka broker was running.")


if __name__ == "__main__":
    try:
        main()
    except LambdaSparkError as error:
        sys.exit(str(error))
