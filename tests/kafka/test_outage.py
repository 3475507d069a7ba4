"""The broker goes away while both streams run, and comes back: they log it once, wait, and resume."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import NewSettings, environment_of, random_events, send
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta import event_log, tables
from lambda_spark.errors import StreamError
from lambda_spark.kafka import source
from lambda_spark.kafka.client import ensure_topic
from lambda_spark.local.broker import start_broker, stop_broker
from lambda_spark.local.processes import free_address, running_pid, wait_until
from lambda_spark.settings import PROJECT_ROOT, Settings
from lambda_spark.speed.checkpoints import ingest_checkpoint, received_count, speed_checkpoint

pytestmark = [pytest.mark.fault("the broker is away, and comes back"), pytest.mark.slow]

JOBS = {"ingest_events": ingest_checkpoint, "speed_stream": speed_checkpoint}


@pytest.fixture
def killable(tmp_path: Path, new_settings: NewSettings) -> Iterator[Settings]:
    """Yield settings with a separate broker that may be killed."""
    kafka = {"bootstrap_servers": free_address(), "topic": "shop"}
    settings = new_settings(kafka=kafka)
    start_broker(settings.kafka.bootstrap_servers, tmp_path / "broker")
    ensure_topic(settings.kafka)
    yield settings
    stop_broker(tmp_path / "broker")


def kill_broker(folder: Path) -> None:
    pid = running_pid(folder / "broker.pid")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: running_pid(folder / "broker.pid") is None, 10)


def have_received(settings: Settings, count: int) -> bool:
    return all(received_count(checkpoint_of(settings.data_root)) == count for checkpoint_of in JOBS.values())


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.long)])
def test_streams_log_the_outage_once_wait_and_resume(killable: Settings, tmp_path: Path, seconds: int) -> None:
    send(killable.kafka, random_events(100, 1))
    triggers = {f"LAMBDA_{name}__TRIGGER": "1 second" for name in ("INGEST", "SPEED")}
    environment = environment_of(killable, **triggers)
    logs = {name: tmp_path / f"{name}.log" for name in JOBS}
    streams = []
    for name, log in logs.items():
        command = ["spark-submit", str(PROJECT_ROOT / "jobs" / f"{name}.py")]
        with log.open("w") as output:
            streams.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
    try:
        assert wait_until(lambda: have_received(killable, 100), 120)
        kill_broker(tmp_path / "broker")
        time.sleep(seconds)
        start_broker(killable.kafka.bootstrap_servers, tmp_path / "broker")
        send(killable.kafka, random_events(50, 2))
        assert wait_until(lambda: have_received(killable, 150), 60)
        assert wait_until(lambda: all("is back" in log.read_text() for log in logs.values()), 10)
        for stream in streams:
            stream.send_signal(signal.SIGTERM)
        assert [stream.wait(60) for stream in streams] == [0, 0]
    finally:
        for stream in streams:
            stream.kill()
    for log in logs.values():
        logged = log.read_text().split("Messages")[0].strip().splitlines()
        assert logged == [
            f"No Kafka broker answers at {killable.kafka.bootstrap_servers}: waiting until one does.",
            f"The Kafka broker at {killable.kafka.bootstrap_servers} is back: resuming.",
        ]
    rows = tables.read_arrow(killable.data_root, tables.EVENTS, ["source_partition", "source_offset"]).to_pylist()
    assert len({tuple(row.values()) for row in rows}) == len(rows) == 150


@pytest.mark.long
def test_a_stream_ends_with_an_error_after_the_longest_wait(
    spark: SparkSession, killable: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {
        "kafka.default.api.timeout.ms": "2000",
        "kafka.request.timeout.ms": "2000",
        "fetchOffset.numRetries": "1",
    }
    monkeypatch.setattr(source, "_OUTAGE_OPTIONS", short)
    send(killable.kafka, random_events(20, 1))

    def kill(*_: object) -> None:
        kill_broker(tmp_path / "broker")

    ingest = killable.ingest.model_copy(update={"trigger": "1 second"})
    each_second = killable.model_copy(update={"ingest": ingest})
    with pytest.raises(StreamError, match=r"was away for too long: see that it runs, then start the job again"):
        pipelines.ingest_topic(spark, each_second, available_now=False, on_batch=kill)
    start_broker(killable.kafka.bootstrap_servers, tmp_path / "broker")
    send(killable.kafka, random_events(20, 2))
    pipelines.ingest_topic(spark, killable, available_now=True)
    assert event_log.event_counts(killable.data_root)[0] == 40
