"""Streams refuse what they must not pass over: another stream, another topic, lost messages, damaged checkpoints."""

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import NewSettings, event, send
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewPartitions
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.errors import StreamError
from lambda_spark.kafka.client import delete_topic, ensure_topic
from lambda_spark.settings import KafkaSettings, Settings
from lambda_spark.speed.checkpoints import ingest_checkpoint, reached_offsets, received_count, speed_checkpoint

EVENTS = [event("2020-03-01 12:00:00", user, 1) for user in range(20)]
STREAMS = (pipelines.ingest_topic, pipelines.speed_stream)


@pytest.fixture(scope="module")
def begun(spark: SparkSession, new_run: NewSettings) -> Settings:
    """Return the settings under which both streams have read a topic of two partitions to its end."""
    settings = new_run(partitions=2)
    send(settings.kafka, EVENTS)
    for stream in STREAMS:
        stream(spark, settings, available_now=True)
    return settings


@pytest.fixture
def changed(begun: Settings, new_settings: NewSettings) -> Callable[..., Settings]:
    """Return what copies that run, and reads the copy with these settings of Kafka."""

    def copy(**kafka: object) -> Settings:
        settings = new_settings(kafka=begun.kafka.model_dump() | kafka)
        shutil.copytree(begun.data_root, settings.data_root, dirs_exist_ok=True)
        return settings

    return copy


def delete_messages(kafka: KafkaSettings, partitions: int) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.delete_records({TopicPartition(kafka.topic, number): -1 for number in range(partitions)})
    admin.close()


@pytest.mark.fault("two streams on one checkpoint")
def test_of_two_streams_on_a_checkpoint_the_second_refuses(spark: SparkSession, new_run: NewSettings) -> None:
    settings, refused = new_run(), []
    send(settings.kafka, EVENTS)

    def start_another(*_: object) -> None:
        with pytest.raises(StreamError, match=r"Another stream runs on the checkpoint .*: stop that one first"):
            pipelines.speed_stream(spark, settings, available_now=True)
        refused.append(True)

    pipelines.speed_stream(spark, settings, available_now=True, on_batch=start_another)
    assert refused == [True]


@pytest.mark.fault("two streams on one checkpoint")
def test_what_spark_says_of_another_stream_is_the_same_sentence(spark: SparkSession, new_run: NewSettings) -> None:
    settings = new_run()
    send(settings.kafka, EVENTS)

    def complete_the_batch(*_: object) -> None:
        commits = Path(ingest_checkpoint(settings.data_root), "commits")
        commits.mkdir(exist_ok=True)
        (commits / "0").write_text("v1\n{}")

    with pytest.raises(StreamError, match=r"Another stream runs on the checkpoint"):
        pipelines.ingest_topic(spark, settings, available_now=True, on_batch=complete_the_batch)


@pytest.mark.fault("a checkpoint of another topic or partition count")
def test_a_checkpoint_of_another_topic_is_refused(
    spark: SparkSession, begun: Settings, changed: Callable[..., Settings], new_topic: Callable[..., str]
) -> None:
    with pytest.raises(StreamError, match=f"is of the topic {begun.kafka.topic}, .* go on with --topic"):
        pipelines.ingest_topic(spark, changed(topic=new_topic()), available_now=True)


@pytest.mark.fault("the topic is deleted and made again")
@pytest.mark.parametrize(("partitions", "id_is_kept"), [(2, True), (2, False), (1, True)])
def test_a_topic_that_was_made_again_is_refused_even_if_loss_is_taken(
    spark: SparkSession, new_run: NewSettings, partitions: int, id_is_kept: bool
) -> None:
    settings = new_run(partitions=2)
    kafka = settings.kafka.model_copy(update={"on_data_loss": "continue"})
    send(kafka, EVENTS)
    pipelines.ingest_topic(spark, settings, available_now=True)
    delete_topic(kafka)
    ensure_topic(kafka.model_copy(update={"partitions": partitions}))
    if not id_is_kept:
        Path(ingest_checkpoint(settings.data_root), "topic-id").unlink()
    with pytest.raises(StreamError, match=r"deleted and made again, .* with --data-root"):
        pipelines.ingest_topic(spark, settings.model_copy(update={"kafka": kafka}), available_now=True)


@pytest.mark.fault("the topic is deleted and made again")
def test_a_topic_that_was_made_again_is_refused_by_what_the_table_says_of_it(
    spark: SparkSession, new_run: NewSettings
) -> None:
    settings = new_run(partitions=2)
    send(settings.kafka, EVENTS)
    pipelines.ingest_topic(spark, settings, available_now=True)
    delete_topic(settings.kafka)
    ensure_topic(settings.kafka)
    send(settings.kafka, EVENTS * 2)
    shutil.rmtree(ingest_checkpoint(settings.data_root))
    with pytest.raises(StreamError, match=r"deleted and made again, .* with --data-root"):
        pipelines.ingest_topic(spark, settings, available_now=True, rebuild=True)


@pytest.mark.fault("a checkpoint of another topic or partition count")
def test_more_partitions_of_the_same_topic_are_read(spark: SparkSession, new_run: NewSettings) -> None:
    settings = new_run(partitions=1)
    send(settings.kafka, EVENTS)
    pipelines.ingest_topic(spark, settings, available_now=True)
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    admin.create_partitions({settings.kafka.topic: NewPartitions(3)})
    admin.close()
    send(settings.kafka, EVENTS)
    assert pipelines.ingest_topic(spark, settings, available_now=True).stored == 20
    assert len(reached_offsets(ingest_checkpoint(settings.data_root))) == 3


@pytest.mark.fault("messages expired before they were read")
@pytest.mark.parametrize("stream", STREAMS)
def test_lost_messages_are_passed_over_only_if_that_is_asked_for(
    spark: SparkSession, new_run: NewSettings, stream: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    settings = new_run(partitions=2)
    send(settings.kafka, EVENTS)
    stream(spark, settings, available_now=True)
    send(settings.kafka, EVENTS)
    delete_messages(settings.kafka, partitions=2)
    send(settings.kafka, EVENTS[:5])
    with pytest.raises(StreamError, match=r"has lost 20 messages .*--data-root, .*--on-data-loss continue"):
        stream(spark, settings, available_now=True)
    going_on = settings.kafka.model_copy(update={"on_data_loss": "continue"})
    with caplog.at_level(logging.WARNING):
        received = stream(spark, settings.model_copy(update={"kafka": going_on}), available_now=True)
    assert "has lost 20 messages" in caplog.text
    assert getattr(received, "batch_received", received) == 5
    assert getattr(received, "stored", 5) == 5
    checkpoint_of = ingest_checkpoint if stream is pipelines.ingest_topic else speed_checkpoint
    assert received_count(checkpoint_of(settings.data_root)) == 20 + 5


@pytest.mark.fault("messages expired before they were read")
def test_messages_that_are_lost_while_a_stream_runs_end_it(spark: SparkSession, new_run: NewSettings) -> None:
    settings = new_run(partitions=1, ingest={"max_messages_per_trigger": 500, "trigger": "0 seconds"})
    send(settings.kafka, EVENTS)

    def lose(*_: object) -> None:
        # Until the consumer's last request for more has come back empty.
        time.sleep(1)
        send(settings.kafka, EVENTS)
        delete_messages(settings.kafka, partitions=1)

    with pytest.raises(StreamError, match=r"has lost messages .*--on-data-loss continue"):
        pipelines.ingest_topic(spark, settings, available_now=False, on_batch=lose)


@pytest.mark.fault("a checkpoint truncated or deleted")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("offsets/0", b""),
        ("offsets/0", b"v1\n\0\0"),
        ("commits/0", b"v1\n{"),
        ("metadata", None),
        ("sources/0/0", None),
    ],
)
def test_a_damaged_file_of_a_checkpoint_is_named(
    spark: SparkSession, changed: Callable[..., Settings], name: str, content: bytes | None
) -> None:
    settings = changed()
    file = Path(ingest_checkpoint(settings.data_root), name)
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(StreamError, match=rf"file {file} is missing or damaged: put .* or .* --rebuild-from-master"):
        pipelines.ingest_topic(spark, settings, available_now=True)


@pytest.mark.fault("a checkpoint truncated or deleted")
@pytest.mark.parametrize("pattern", ["state/*", "state/0/*/*.changelog"])
def test_a_deleted_file_of_the_state_is_named(
    spark: SparkSession, begun: Settings, changed: Callable[..., Settings], pattern: str
) -> None:
    settings = changed()
    checkpoint = Path(speed_checkpoint(settings.data_root))
    for path in checkpoint.glob(pattern):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in checkpoint.glob("state/0/*/*.zip"):
        path.unlink()
    send(begun.kafka, EVENTS)
    with pytest.raises(StreamError, match=rf"file {checkpoint}/state\S* is missing or damaged"):
        pipelines.speed_stream(spark, settings, available_now=True)
