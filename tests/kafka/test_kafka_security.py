"""A broker that requires TLS and a login: every client can connect, and the password appears nowhere."""

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from helpers import PATIENCE, NewSettings, environment_of, random_events, write_events
from pyspark.sql import SparkSession
from secured_broker import MECHANISM, SecuredBroker, secured_broker

from lambda_spark import pipelines
from lambda_spark.api.topic import TopicMonitor
from lambda_spark.errors import BrokerError, LambdaSparkError, SettingsError
from lambda_spark.kafka import source
from lambda_spark.kafka.client import check_topic, message_count
from lambda_spark.kafka.security import client_options, spark_options
from lambda_spark.local.broker import settings_broker
from lambda_spark.local.processes import wait_until
from lambda_spark.replay.bulk_replay import bulk_replay
from lambda_spark.replay.replay import replay
from lambda_spark.settings import PROJECT_ROOT, KafkaSettings, Settings, load_settings

pytestmark = pytest.mark.fault("a broker with TLS and SCRAM, wrong logins")

USER = "shop"
# With every character that a quoted text in JAAS must escape.
PASSWORD = 'W7x "quoted" \\n, =; ñ-hidden'
READABLE = "W7x"

NewKafka = Callable[..., KafkaSettings]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    with secured_broker(tmp_path_factory.mktemp("secured"), USER, PASSWORD) as broker:
        yield broker


@pytest.fixture(scope="module")
def login(secured: SecuredBroker, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Return settings with a valid login, with the password in a file."""
    file = tmp_path_factory.mktemp("secrets") / "password"
    file.write_text(f"{PASSWORD}\n", encoding="utf-8")
    return {
        "bootstrap_servers": secured.bootstrap_servers,
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": MECHANISM,
        "username": USER,
        "password_file": file,
        "ca_file": secured.ca_file,
    }


@pytest.fixture(scope="module")
def pipeline(
    spark: SparkSession, login: dict[str, object], new_settings: NewSettings, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """Return the settings of events that went through the broker: by both replays and both streams."""
    settings = new_settings(kafka=login)
    folder = tmp_path_factory.mktemp("events")
    with settings_broker(settings) as started:
        assert not started
    assert replay(settings.kafka, [write_events(folder / "a.csv", random_events(60, 1))]).sent == 60
    assert bulk_replay(spark, settings.kafka, [write_events(folder / "b.csv", random_events(20, 2))]).sent == 20
    assert message_count(settings.kafka) == 80
    assert pipelines.ingest_topic(spark, settings, available_now=True).stored == 80
    assert pipelines.speed_stream(spark, settings, available_now=True) == 80
    return settings


def test_the_servers_client_connects_too(pipeline: Settings) -> None:
    watch = TopicMonitor(pipeline.kafka)
    watch.start()
    try:
        assert wait_until(lambda: watch.message_count() == 80, PATIENCE)
    finally:
        watch.stop()


def test_the_password_is_in_no_file_no_process_list_and_no_plan(spark: SparkSession, pipeline: Settings) -> None:
    secret = READABLE.encode()
    assert [
        path for path in Path(pipeline.data_root).rglob("*") if path.is_file() and secret in path.read_bytes()
    ] == []
    commands = [str(process.info["cmdline"]) for process in psutil.process_iter(["cmdline"])]
    assert any("pyspark" in command for command in commands)
    assert [command for command in commands if READABLE in command] == []
    ends = dict.fromkeys(range(pipeline.kafka.partitions), 1)
    read = source.read_messages(spark, pipeline.kafka, dict.fromkeys(ends, 0), ends)
    streamed = source.stream_messages(spark, pipeline.kafka, 10)
    assert read.count() == len(ends)
    plans = [str(frame._jdf.queryExecution()) for frame in (read, streamed)]
    # The plans that Spark's page and event log show of each query so far, including that of the bulk replay.
    ran = spark._jsparkSession.sharedState().statusStore().executionsList()
    plans += [ran.apply(number).physicalPlanDescription() for number in range(ran.size())]
    assert any("kafka.sasl.jaas.config" in plan for plan in plans)
    assert [plan for plan in plans if READABLE in plan] == []


def test_a_job_takes_the_password_from_the_environment_and_never_prints_it(
    pipeline: Settings, login: dict[str, object], tmp_path: Path
) -> None:
    file = write_events(tmp_path / "c.csv", random_events(5, 3))
    names = ("security_protocol", "sasl_mechanism", "username", "ca_file")
    variables = {f"LAMBDA_KAFKA__{name.upper()}": str(login[name]) for name in names}

    def run(password: str) -> "subprocess.CompletedProcess[str]":
        environment = environment_of(pipeline, **variables, LAMBDA_KAFKA__PASSWORD=password)
        command = [sys.executable, str(PROJECT_ROOT / "jobs" / "replay_events.py"), str(file)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = run(PASSWORD)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Sent 5 records")
    refused = run("W7x-but-wrong")
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert "does not let kafka.username = 'shop' in: check that name, its password (LAMBDA_KAFKA__PASSWORD or" in line
    assert READABLE not in line


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"username": "nobody"}, r"does not let kafka\.username = 'nobody' in: check that name, its password"),
        ({"sasl_mechanism": "SCRAM-SHA-256"}, r"kafka\.sasl_mechanism = 'SCRAM-SHA-256' and"),
        (
            {"ca_file": None},
            r"The TLS connection to .* failed \(self-signed certificate\): name the certificate",
        ),
        ({"security_protocol": "SASL_PLAINTEXT", "ca_file": None}, r"kafka\.security_protocol = 'SASL_PLAINTEXT'"),
        (
            {"security_protocol": "PLAINTEXT", "ca_file": None, "username": None, "password_file": None},
            r"takes no connection by kafka\.security_protocol = 'PLAINTEXT': set the broker's own",
        ),
        ({"bootstrap_servers": "127.0.0.1:1"}, r"No Kafka broker answers at 127\.0\.0\.1:1"),
    ],
)
def test_a_refused_client_gets_the_reason_in_one_sentence(
    login: dict[str, object], changed: dict[str, object], sentence: str
) -> None:
    kafka = load_settings(kafka={**login, **changed}).kafka
    with pytest.raises(BrokerError, match=sentence) as error:
        check_topic(kafka)
    assert READABLE not in str(error.value)


@pytest.mark.fault("a broker that takes connections and stays silent")
@pytest.mark.timeout(120)
def test_a_silent_server_is_given_up_within_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        kafka = load_settings(kafka={"bootstrap_servers": address, "security_protocol": "SSL"}).kafka
        with pytest.raises(
            BrokerError, match=rf"TLS connection to {address} failed \(no answer within 3 seconds\): .* see"
        ):
            check_topic(kafka)


@pytest.mark.parametrize("options", [client_options, spark_options])
@pytest.mark.parametrize("name", ["password_file", "ca_file"])
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, options: Callable[..., object]) -> None:
    good = tmp_path / "good"
    good.write_text("W7x")
    given = {"username": "u", "password_file": good, "ca_file": None, "security_protocol": "SASL_SSL"}
    kafka = load_settings(kafka={**given, name: tmp_path / "none"}).kafka
    with pytest.raises(SettingsError, match=rf"kafka\.{name} = '.*none' \(No such file.*name a file that this user"):
        options(kafka)


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"\n", "password_file", "is empty: write the password into it"),
        (b"\xff\xfeW7x", "password_file", "no text in UTF-8"),
        (b"W7x", "ca_file", "holds no certificate: name a file of certificates in PEM"),
    ],
)
def test_a_file_with_other_content_is_named_and_not_shown(
    tmp_path: Path, content: bytes, name: str, sentence: str
) -> None:
    file, good = tmp_path / "file", tmp_path / "good"
    file.write_bytes(content)
    good.write_text("W7x")
    given = {"username": "u", "password_file": good, "security_protocol": "SASL_SSL", name: file}
    with pytest.raises(LambdaSparkError, match=sentence) as error:
        client_options(load_settings(kafka=given).kafka)
    assert READABLE not in str(error.value)
