"""The speed layer on a real topic: exactly once through stops and failures, and what its state holds."""

import os
import signal
from collections.abc import Callable
from itertools import chain
from types import SimpleNamespace

import pytest
from helpers import Lists, NewSettings, expected_lists, lists_of, random_events, send
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.batch.user_brands import merge_brand_lists
from lambda_spark.delta import commits
from lambda_spark.delta.tables import RECENT_BRANDS
from lambda_spark.history.merging import unpack
from lambda_spark.settings import Settings
from lambda_spark.speed.checkpoints import speed_checkpoint

LIMIT = 5
SHARDS = 8
# Small batches: each holds some of the topic's 122 messages.
SPEED = {"max_messages_per_trigger": 70, "trigger": "0 seconds", "shards": SHARDS}


@pytest.fixture(scope="module")
def topic(spark: SparkSession, new_run: NewSettings) -> SimpleNamespace:
    """Fill a topic in two steps; a stream runs after each, and once where nothing is new."""
    restarted = new_run(speed=SPEED, brands={"limit": LIMIT})
    early, late = random_events(60, 1), random_events(60, 2)
    send(restarted.kafka, [*early[:30], b"no event", None, *early[30:]])
    received = [pipelines.speed_stream(spark, restarted, available_now=True) for _ in range(2)]
    send(restarted.kafka, late)
    received.append(pipelines.speed_stream(spark, restarted, available_now=True))
    return SimpleNamespace(restarted=restarted, received=received, expected=expected_lists(early + late, LIMIT))


@pytest.fixture(scope="module")
def new_root(topic: SimpleNamespace, new_settings: NewSettings) -> Callable[[], Settings]:
    """Return what makes settings for another stream over the same topic, from its first message on."""
    kafka = topic.restarted.kafka.model_dump()
    return lambda: new_settings(kafka=kafka, speed=SPEED, brands={"limit": LIMIT})


@pytest.fixture(scope="module")
def undisturbed(spark: SparkSession, new_root: Callable[[], Settings]) -> Settings:
    settings = new_root()
    assert pipelines.speed_stream(spark, settings, available_now=True) == 122
    return settings


def merged_lists(spark: SparkSession, settings: Settings) -> Lists:
    return lists_of(merge_brand_lists([commits.read(spark, settings.data_root, RECENT_BRANDS)], LIMIT))


def test_a_stream_that_is_run_again_goes_on_where_it_was(spark: SparkSession, topic: SimpleNamespace) -> None:
    assert topic.received == [62, 0, 60]
    assert merged_lists(spark, topic.restarted) == topic.expected


def test_the_log_has_a_row_per_batch_and_user_with_the_list_after_it(
    spark: SparkSession, undisturbed: Settings, topic: SimpleNamespace
) -> None:
    rows = commits.read(spark, undisturbed.data_root, RECENT_BRANDS).orderBy("batch_id").collect()
    assert len({(row.batch_id, row.user_id) for row in rows}) == len(rows)
    assert {row.batch_id for row in rows} == {0, 1}
    newest = {row.user_id: [item.brand for item in row.brands] for row in rows}
    assert newest == {user_id: [brand for brand, _ in brands] for user_id, brands in topic.expected.items()}
    assert {row.source_topic for row in rows} == {undisturbed.kafka.topic}
    assert sum(rows[-1].source_offsets.values()) == 122


def test_the_state_holds_exactly_the_lists_of_the_users(
    spark: SparkSession, undisturbed: Settings, topic: SimpleNamespace
) -> None:
    reader = spark.read.format("statestore").option("stateVarName", "sightings")
    stored = reader.load(str(speed_checkpoint(undisturbed.data_root))).collect()
    shards = [unpack([row.value.packed]).to_pylist() for row in stored]
    lists: dict[int, tuple[tuple[str, int], ...]] = {}
    for row in chain.from_iterable(shards):
        lists[row["user_id"]] = (*lists.get(row["user_id"], ()), (row["brand"], row["seen_at"]))
    assert lists == topic.expected
    assert len({row.key.shard for row in stored}) == len(stored) <= SHARDS


def test_a_stream_runs_until_sigterm_and_loses_nothing(
    spark: SparkSession, new_root: Callable[[], Settings], topic: SimpleNamespace
) -> None:
    settings = new_root()
    batches = []

    def stop(_: object, batch_id: int, *offsets: object) -> None:
        batches.append((batch_id, *offsets))
        if batch_id == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    received = pipelines.speed_stream(spark, settings, available_now=False, on_batch=stop)
    received += pipelines.speed_stream(spark, settings, available_now=True)
    assert received == 122
    assert batches[0][0] == 0
    assert sum(batches[0][2].values()) - sum(batches[0][1].values()) <= 70
    assert merged_lists(spark, settings) == topic.expected
