import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from lambda_spark.errors import BrokerError
from lambda_spark.local.broker import is_reachable, running_broker, start_broker, stop_broker
from lambda_spark.local.processes import free_address


def create_topic(bootstrap: str, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, 2, 1)])
    admin.close()


def topics(bootstrap: str) -> list[str]:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        return sorted(admin.list_topics())
    finally:
        admin.close()


def test_a_broker_is_started_if_none_answers_and_stopped_only_by_its_starter(tmp_path: Path) -> None:
    bootstrap = free_address()
    assert not is_reachable(bootstrap)
    with running_broker(bootstrap, tmp_path) as started:
        assert started
        create_topic(bootstrap, "kept")
        with running_broker(bootstrap, tmp_path) as started_again:
            assert not started_again
        assert is_reachable(bootstrap)

        other = free_address()
        with pytest.raises(BrokerError, match=f"not at {other}: end it with `make broker-stop`"):
            start_broker(other, tmp_path)
        assert is_reachable(bootstrap)
    assert not is_reachable(bootstrap)
    assert not stop_broker(tmp_path)

    elsewhere = free_address()
    with running_broker(elsewhere, tmp_path):
        assert topics(elsewhere) == ["kept"]


@pytest.mark.slow
def test_a_killed_broker_starts_again_with_its_data(tmp_path: Path) -> None:
    bootstrap = free_address()
    start_broker(bootstrap, tmp_path)
    create_topic(bootstrap, "kept")
    os.kill(int((tmp_path / "broker.pid").read_text()), signal.SIGKILL)
    with running_broker(bootstrap, tmp_path) as started:
        assert started
        assert topics(bootstrap) == ["kept"]


def test_a_stale_pid_file_stops_no_other_process(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as innocent:
        (tmp_path / "broker.pid").write_text(str(innocent.pid))
        assert not stop_broker(tmp_path)
        assert innocent.poll() is None
        innocent.kill()


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=f"Port {port} is taken by something that isn't a Kafka broker"):
            start_broker(f"127.0.0.1:{port}", tmp_path)


@pytest.mark.parametrize("bootstrap", ["kafka.invalid:9092", "127.0.0.1", "127.0.0.1:http"])
def test_an_address_that_cannot_be_local_is_named(tmp_path: Path, bootstrap: str) -> None:
    with pytest.raises(BrokerError, match=f"No Kafka broker answers at {bootstrap}: start it, or set LAMBDA_KAFKA__"):
        start_broker(bootstrap, tmp_path)


def test_messages_never_expire_and_topics_are_not_created_automatically(broker: str) -> None:
    create_topic(broker, "fresh")
    resources = [ConfigResource(ConfigResourceType.TOPIC, "fresh"), ConfigResource(ConfigResourceType.BROKER, "1")]
    admin = KafkaAdminClient(bootstrap_servers=broker)
    found = admin.describe_configs(resources, config_filter="all")
    admin.close()
    assert found["topic"]["fresh"]["retention.ms"]["value"] == "-1"
    assert found["broker"]["1"]["auto.create.topics.enable"]["value"] == "false"


def test_ctrl_c_while_it_starts_leaves_nothing_behind(tmp_path: Path) -> None:
    code = "import sys, pathlib; from lambda_spark.local.broker import start_broker; "
    code += "start_broker(sys.argv[1], pathlib.Path(sys.argv[2]))"
    with subprocess.Popen([sys.executable, "-c", code, free_address(), tmp_path], stderr=subprocess.PIPE) as starting:
        pid_file = tmp_path / "broker.pid"
        while not (pid_file.exists() and pid_file.read_text()):
            time.sleep(0.01)
        starting.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in starting.communicate(timeout=60)[1]
    assert not stop_broker(tmp_path)


@pytest.mark.slow
def test_start_and_stop_from_the_command_line(tmp_path: Path) -> None:
    bootstrap = free_address()
    surroundings = {**os.environ, "LAMBDA_DATA_ROOT": str(tmp_path), "LAMBDA_KAFKA__BOOTSTRAP_SERVERS": bootstrap}

    def run(action: str) -> str:
        command = [sys.executable, "-m", "lambda_spark.local.broker", action]
        return subprocess.run(command, env=surroundings, check=True, capture_output=True, text=True).stdout

    try:
        assert run("start") == f"Kafka is running at {bootstrap}.\n"
        assert run("start") == f"Kafka was running already at {bootstrap}.\n"
        assert (tmp_path / "broker" / "log").is_dir()
        assert run("stop") == "Kafka is stopped.\n"
        assert run("stop") == "No local Kafka broker was running.\n"
    finally:
        stop_broker(tmp_path / "broker")
