"""What `user_brands` covers leaves the speed layer, and nobody's brands change by it."""

import shutil
from datetime import datetime, timezone
from itertools import chain

import pytest
from helpers import Lists, NewSettings, expected_lists, lists_of, random_events, send
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta import commits, coverage, tables
from lambda_spark.delta.tables import RECENT_BRANDS, USER_BRANDS
from lambda_spark.history.merging import unpack
from lambda_spark.schemas import Offsets
from lambda_spark.serving import histories, recommender
from lambda_spark.serving.snapshot import open_snapshot
from lambda_spark.settings import BrandSettings, Settings
from lambda_spark.speed import micro_batches
from lambda_spark.speed.checkpoints import speed_checkpoint
from lambda_spark.speed.state import COVERED

LIMIT = 5
NOW = datetime(2020, 3, 9, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def run(new_run: NewSettings) -> Settings:
    speed = {"max_messages_per_trigger": 40, "trigger": "0 seconds", "shards": 4}
    return new_run(partitions=2, speed=speed, brands={"limit": LIMIT})


def present(spark: SparkSession, settings: Settings) -> Lists:
    return lists_of(histories.merged_views(spark, settings.data_root, LIMIT, open_snapshot(settings.data_root)))


def is_whole(settings: Settings) -> bool:
    """Say whether the views of brands hold all that is known."""
    return histories.views_cover(settings.data_root, settings.brands, open_snapshot(settings.data_root))


def state(spark: SparkSession, settings: Settings) -> list[dict[str, int]]:
    """Return the sightings of all shards."""
    reader = spark.read.format("statestore").option("stateVarName", "sightings")
    stored = reader.load(str(speed_checkpoint(settings.data_root))).collect()
    return list(chain.from_iterable(unpack([row.value.packed]).to_pylist() for row in stored))


def everybody(spark: SparkSession, settings: Settings) -> Lists:
    """Return the brands that an answer of today is given from."""
    query = recommender.plan_query(settings, open_snapshot(settings.data_root), None, NOW, ())
    return lists_of(recommender.present_brands(spark, settings, query))


def batch_layer(spark: SparkSession, settings: Settings) -> None:
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.batch_brands(spark, settings)


def test_what_the_batch_view_covers_is_dropped_and_nobody_loses_a_brand(spark: SparkSession, run: Settings) -> None:
    root, topic = run.data_root, run.kafka.topic
    parts = [random_events(60, seed) for seed in range(3)]
    send(run.kafka, parts[0])
    pipelines.speed_stream(spark, run, available_now=True)
    batch_layer(spark, run)
    covered = coverage.covered_offsets(root, topic, run.brands)
    assert sum(covered.values()) == 60

    send(run.kafka, parts[1])
    pipelines.speed_stream(spark, run, available_now=True)
    log = commits.read(spark, root, RECENT_BRANDS).collect()
    assert {row.batch_id for row in log} == {2, 3}
    kept = state(spark, run)
    assert kept
    assert all(row["offset"] >= covered[row["partition"]] for row in kept)
    assert present(spark, run) == expected_lists(parts[0] + parts[1], LIMIT)

    # The stream starts again, the events are older than many before them, and the batch layer lags behind.
    send(run.kafka, parts[2])
    pipelines.speed_stream(spark, run, available_now=True)
    assert present(spark, run) == expected_lists(chain(*parts), LIMIT)
    batch_layer(spark, run)
    assert present(spark, run) == expected_lists(chain(*parts), LIMIT)
    assert is_whole(run)
    # It reached the tasks through the query's own thread: no other query of the session may see it.
    assert spark.sparkContext.getLocalProperty(COVERED) is None


@pytest.mark.slow
@pytest.mark.fault("a failure between two writes")
@pytest.mark.parametrize("is_dropped", [False, True])
def test_a_failure_while_the_log_is_dropped_changes_nothing_in_the_end(
    spark: SparkSession, new_run: NewSettings, monkeypatch: pytest.MonkeyPatch, is_dropped: bool
) -> None:
    settings = new_run(partitions=2, speed={"max_messages_per_trigger": 40, "shards": 4}, brands={"limit": LIMIT})
    parts = [random_events(60, seed) for seed in (7, 8)]
    send(settings.kafka, parts[0])
    pipelines.speed_stream(spark, settings, available_now=True)
    batch_layer(spark, settings)
    send(settings.kafka, parts[1])
    drop = micro_batches._drop_from_log

    def fail(*arguments: object) -> None:
        if is_dropped:
            drop(*arguments)  # type: ignore[arg-type]
        raise OSError("pulled the plug")

    monkeypatch.setattr(micro_batches, "_drop_from_log", fail)
    with pytest.raises(StreamingQueryException, match="pulled the plug"):
        pipelines.speed_stream(spark, settings, available_now=True)
    assert set(present(spark, settings)) <= set(expected_lists(parts[0] + parts[1], LIMIT))
    monkeypatch.undo()
    pipelines.speed_stream(spark, settings, available_now=True)
    assert present(spark, settings) == expected_lists(parts[0] + parts[1], LIMIT)
    assert {row.batch_id for row in commits.read(spark, settings.data_root, RECENT_BRANDS).collect()} == {2, 3}


def test_a_batch_view_of_another_topic_or_rule_covers_nothing(run: Settings) -> None:
    def covered(topic: str, brands: BrandSettings) -> Offsets:
        return coverage.covered_offsets(run.data_root, topic, brands)

    assert covered(run.kafka.topic, run.brands)
    assert covered("another", run.brands) == {}
    assert covered(run.kafka.topic, run.brands.model_copy(update={"limit": LIMIT + 1})) == {}


def test_where_a_batch_view_is_lost_the_brands_come_from_the_events_and_it_is_told(
    spark: SparkSession, run: Settings
) -> None:
    pipelines.batch_brands(spark, run)
    before = everybody(spark, run)
    shutil.rmtree(tables.path_of(run.data_root, USER_BRANDS))
    assert not is_whole(run)
    assert "run jobs/batch_brands.py" in pipelines.recommend(spark, run, as_of=NOW).query.request.notes[-1]
    assert everybody(spark, run) == before
    pipelines.batch_brands(spark, run)
    assert is_whole(run)
    assert everybody(spark, run) == before
