"""The local Kafka broker, one node in its own process: `python -m lambda_spark.local.broker start` and `stop`.

Own code: Maven has Kafka's jars, but not the scripts that start and stop it.
"""

import argparse
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from subprocess import PIPE, STDOUT, run

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from lambda_spark.errors import BrokerError, LambdaSparkError, SetUpError
from lambda_spark.kafka.client import check_broker
from lambda_spark.local.java import JARS, JAVA
from lambda_spark.local.processes import free_address, start_daemon, stop_daemon, wait_until
from lambda_spark.settings import PROJECT_ROOT, Settings, load_settings

CONFIG = PROJECT_ROOT / "conf" / "kafka-server.properties"
LOGGING = f"-Dlog4j2.configurationFile={PROJECT_ROOT / 'conf' / 'log4j2.properties'}"

# The broker shares the machine with Spark: the second compiler and a parallel collector cost more than they save.
JVM_OPTIONS = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
JAVA_COMMAND = [str(JAVA), *JVM_OPTIONS, LOGGING, "-cp", str(JARS / "broker" / "*")]

# Any 16 bytes in base64 would do: there is only one cluster.
CLUSTER_ID = "bGFtYmRhLXNwYXJrLTAwMQ"
PID_FILE, LOG_FILE = "broker.pid", "broker.log"
START_SECONDS = 120


def broker_directory(settings: Settings) -> Path:
    """Return the folder where the local broker keeps its data."""
    return settings.local_root / "broker"


def is_reachable(bootstrap: str) -> bool:
    """Return True if a Kafka broker answers at `host:port` and is ready to create topics."""
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=1_000, request_timeout_ms=5_000)
    except (KafkaError, ValueError):  # a port that isn't a number
        return False
    try:
        return bool(admin.describe_cluster()["brokers"])
    except KafkaError:
        return False
    finally:
        admin.close()


def start_broker(bootstrap: str, directory: Path) -> bool:
    """Start a broker that keeps its data in `directory`, and wait until it answers at `bootstrap`.

    Returns False, and starts nothing, if one answers already. Raises BrokerError if none can be started, and
    SetUpError if its Java or jars are missing.
    """
    if is_reachable(bootstrap):
        return False
    port = _local_port(bootstrap)
    if not (JAVA.exists() and JARS.exists()):
        raise SetUpError("The Kafka broker's Java or jars are missing: run `make setup`.")
    process = start_daemon(
        directory / PID_FILE, lambda: [*JAVA_COMMAND, "kafka.Kafka", str(_configure(directory, port))]
    )
    if process is None:
        raise BrokerError(f"A broker runs on {directory} but not at {bootstrap}: end it with `make broker-stop`.")
    try:
        wait_until(lambda: process.poll() is not None or is_reachable(bootstrap), START_SECONDS)
        if process.poll() is not None or not is_reachable(bootstrap):
            raise BrokerError(f"The Kafka broker did not start at {bootstrap}: see {directory / LOG_FILE}.")
    except BaseException:  # Ctrl-C too must leave nothing behind
        stop_broker(directory)
        raise
    return True


def stop_broker(directory: Path) -> bool:
    """Stop the broker that runs on `directory` and wait until it has ended; return False if none is running."""
    return stop_daemon(directory / PID_FILE)


@contextmanager
def running_broker(bootstrap: str, directory: Path) -> Iterator[bool]:
    """Provide a broker at `bootstrap` inside the block: start one unless one answers there.

    Yields whether it was started here; only then is it stopped after the block. Raises what `start_broker` raises.
    """
    started = start_broker(bootstrap, directory)
    try:
        yield started
    finally:
        if started:
            stop_broker(directory)


def settings_broker(settings: Settings) -> AbstractContextManager[bool]:
    """Provide the settings' broker inside the block, as running_broker does; one with a secured connection must run.

    Raises BrokerError.
    """
    if settings.kafka.security_protocol == "PLAINTEXT":
        return running_broker(settings.kafka.bootstrap_servers, broker_directory(settings))
    check_broker(settings.kafka)
    return nullcontext(False)


def _local_port(bootstrap: str) -> int:
    host, _, port = bootstrap.rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not port.isdigit():
        raise BrokerError(
            f"No Kafka broker answers at {bootstrap}: start it, "
            "or set LAMBDA_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:9092 for a local one."
        )
    return int(port)


def _check_port(port: int) -> None:
    """Raise BrokerError if something listens at the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was released just now is free
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise BrokerError(
                f"Port {port} is taken by something that isn't a Kafka broker: end that, or choose a free port "
                "in LAMBDA_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:PORT."
            ) from error


def _configure(directory: Path, port: int) -> Path:
    """Write the broker's configuration and, at the first start, its empty storage; return the configuration file."""
    _check_port(port)
    listener, controller = f"127.0.0.1:{port}", free_address()
    config, log = directory / "server.properties", directory / "log"
    log.mkdir(exist_ok=True)
    config.write_text(
        f"{CONFIG.read_text()}\nlog.dirs={log}\n"
        f"listeners=BROKER://{listener},CONTROLLER://{controller}\ncontroller.quorum.voters=1@{controller}\n"
    )
    if not (log / "meta.properties").exists():
        command = [
            *JAVA_COMMAND,
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            CLUSTER_ID,
            "--config",
            str(config),
        ]
        done = run(command, check=False, stdout=PIPE, stderr=STDOUT, text=True)
        if done.returncode:
            raise BrokerError(f"The Kafka broker cannot keep its data in {log}: {done.stdout.strip()}")
    return config


def main() -> None:
    """Start or stop the settings' broker, and print what was done."""
    parser = argparse.ArgumentParser(prog="python -m lambda_spark.local.broker", description="The local Kafka broker.")
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
