"""A stream without its checkpoint refuses, and goes on from what is stored where it is told to."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from deltalake import DeltaTable
from helpers import NewSettings, expected_lists, lists_of, random_events, send, versions
from kafka import KafkaAdminClient, TopicPartition
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta import commits, coverage, event_log, tables
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, REJECTED_EVENTS, Table
from lambda_spark.errors import NotComputedError, StreamError
from lambda_spark.schemas import Offsets
from lambda_spark.serving import histories, verification
from lambda_spark.serving.snapshot import open_snapshot
from lambda_spark.settings import KafkaSettings, Settings
from lambda_spark.speed import checkpoints as speed_checkpoints
from lambda_spark.speed.checkpoints import ingest_checkpoint, received_count, speed_checkpoint

pytestmark = pytest.mark.fault("a checkpoint truncated or deleted")

SECTIONS = {"speed": {"max_messages_per_trigger": 40}, "ingest": {"max_messages_per_trigger": 50}}
NO_EVENTS = [b"no event", b"{}", b"nothing"]


class Run(NamedTuple):
    """What was sent so far, events and others, into a topic that has forgotten the oldest of it."""

    settings: Settings
    events: list[dict[str, str]]
    sent: list[object]

    def send(self, seed: int) -> None:
        new = random_events(30, seed)
        self.events.extend(new)
        self.sent.extend([*new, *NO_EVENTS])
        send(self.settings.kafka, [*new, *NO_EVENTS])


def forget(kafka: KafkaSettings, below: Offsets) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.delete_records({TopicPartition(kafka.topic, number): offset for number, offset in below.items()})
    admin.close()


@pytest.fixture(scope="module")
def shop(spark: SparkSession, new_run: NewSettings) -> Run:
    """Return a shop whose speed layer is ahead of its batch layer, and whose topic has only what is not in `events`."""
    run = Run(new_run(partitions=2, **SECTIONS), [], [])
    root, topic = run.settings.data_root, run.settings.kafka.topic
    for seed in (1, 2):
        run.send(seed)
        pipelines.speed_stream(spark, run.settings, available_now=True)
    pipelines.ingest_topic(spark, run.settings, available_now=True)
    pipelines.batch_brands(spark, run.settings)
    run.send(3)
    pipelines.ingest_topic(spark, run.settings, available_now=True)
    run.send(4)
    pipelines.speed_stream(spark, run.settings, available_now=True)
    forget(run.settings.kafka, coverage.offsets_of(tables.lineage_of(root, EVENTS), topic))
    return run


@pytest.fixture
def run(shop: Run, tmp_path: Path) -> Run:
    """Return that shop with tables of the test's own."""
    shutil.copytree(shop.settings.data_root, tmp_path / "data")
    return shop._replace(settings=shop.settings.model_copy(update={"data_root": str(tmp_path / "data")}))


def remove(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)


def truncate(checkpoint: Path) -> None:
    newest = max(checkpoint.glob("offsets/[0-9]*"), key=lambda file: int(file.name))
    newest.write_bytes(newest.read_bytes()[:20])


def remove_newest(checkpoint: Path) -> None:
    """Remove all that tells of the newest micro-batch."""
    for folder in ("offsets", "commits"):
        max(checkpoint.glob(f"{folder}/[0-9]*"), key=lambda file: int(file.name)).unlink()


STREAMS = {ingest_checkpoint: pipelines.ingest_topic, speed_checkpoint: pipelines.speed_stream}


def is_same(spark: SparkSession, settings: Settings) -> bool:
    found = verification.check_identity(spark, settings)
    assert all(difference.row_count > 0 for difference in found)
    return all(difference.is_none for difference in found)


def brands_of_users(spark: SparkSession, settings: Settings) -> object:
    live = open_snapshot(settings.data_root)
    return lists_of(histories.merged_views(spark, settings.data_root, settings.brands.limit, live))


def places(root: str, table: Table) -> list[tuple[int, int]]:
    rows = tables.read_arrow(root, table, ["source_partition", "source_offset"]).to_pylist()
    return sorted((row["source_partition"], row["source_offset"]) for row in rows)


@pytest.mark.parametrize("lose", [remove, truncate, remove_newest])
@pytest.mark.parametrize("checkpoint_of", [ingest_checkpoint, speed_checkpoint])
def test_a_stream_is_refused_and_stores_nothing(
    spark: SparkSession, run: Run, lose: Callable[[Path], None], checkpoint_of: Callable[[str], str]
) -> None:
    lose(Path(checkpoint_of(run.settings.data_root)))
    before = versions(run.settings.data_root)
    with pytest.raises(StreamError, match=r"is missing or damaged: .* --rebuild-from-master"):
        STREAMS[checkpoint_of](spark, run.settings, available_now=True)
    assert versions(run.settings.data_root) == before


def test_the_speed_layer_goes_on_with_nothing_lost(spark: SparkSession, run: Run) -> None:
    settings, checkpoint = run.settings, Path(speed_checkpoint(run.settings.data_root))
    remove(checkpoint)
    run.send(5)
    pipelines.speed_stream(spark, settings, available_now=True, rebuild=True)
    assert is_same(spark, settings)
    run.send(6)
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.speed_stream(spark, settings, available_now=True)
    assert brands_of_users(spark, settings) == expected_lists(run.events)
    assert received_count(str(checkpoint)) == len(run.sent)


@pytest.mark.long
def test_the_realtime_views_may_be_gone_too(spark: SparkSession, run: Run) -> None:
    shutil.rmtree(tables.path_of(run.settings.data_root, RECENT_BRANDS))
    # What ingest has not stored is read again.
    run.send(7)
    received = pipelines.speed_stream(spark, run.settings, available_now=True, rebuild=True)
    pipelines.ingest_topic(spark, run.settings, available_now=True)
    assert received == len(run.sent) - 3 * 33
    assert is_same(spark, run.settings)
    assert received_count(speed_checkpoint(run.settings.data_root)) == len(run.sent)


def test_ingest_goes_on_with_nothing_lost_and_nothing_twice(
    spark: SparkSession, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, root, commit_files = run.settings, run.settings.data_root, commits.commit_files

    def fail(delta: DeltaTable, table: Table, *others: object) -> None:
        if table == EVENTS:
            raise OSError("pulled the plug")
        commit_files(delta, table, *others)

    # Leaves rejects of a micro-batch whose events are not stored.
    monkeypatch.setattr(commits, "commit_files", fail)
    with pytest.raises(StreamingQueryException, match="pulled the plug"):
        pipelines.ingest_topic(spark, settings, available_now=True)
    monkeypatch.undo()
    remove(Path(ingest_checkpoint(root)))
    pipelines.ingest_topic(spark, settings, available_now=True, rebuild=True)
    run.send(8)
    pipelines.ingest_topic(spark, settings, available_now=True)
    stored = [*places(root, EVENTS), *places(root, REJECTED_EVENTS)]
    assert len(stored) == len(set(stored)) == len(run.sent)
    assert len(places(root, EVENTS)) == len(run.events)
    assert received_count(ingest_checkpoint(root)) == len(run.sent)


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint_of", [ingest_checkpoint, speed_checkpoint])
def test_a_rebuild_that_dies_goes_on_by_the_same_command(
    spark: SparkSession, run: Run, monkeypatch: pytest.MonkeyPatch, checkpoint_of: Callable[[str], str]
) -> None:
    checkpoint = Path(checkpoint_of(run.settings.data_root))
    stream = STREAMS[checkpoint_of]
    write_file = speed_checkpoints.write_file

    def die(path: str, content: bytes) -> None:
        if path.endswith("sources/0/0"):
            raise OSError("pulled the plug")
        write_file(path, content)

    kept = sorted(path.name for path in checkpoint.glob("offsets/*"))
    truncate(checkpoint)
    with monkeypatch.context() as patch:
        patch.setattr(speed_checkpoints, "write_file", die)
        with pytest.raises(OSError, match="pulled the plug"):
            stream(spark, run.settings, available_now=True, rebuild=True)
    with pytest.raises(StreamError, match="--rebuild-from-master"):
        stream(spark, run.settings, available_now=True)
    stream(spark, run.settings, available_now=True, rebuild=True)
    assert sorted(path.name for path in Path(f"{checkpoint}.set-aside-1", "offsets").glob("*")) == kept
    assert received_count(str(checkpoint)) == len(run.sent)


def test_what_comes_next_has_to_be_in_the_topic_still(spark: SparkSession, new_run: NewSettings) -> None:
    run = Run(new_run(partitions=1), [], [])
    run.send(1)
    pipelines.ingest_topic(spark, run.settings, available_now=True)
    run.send(2)
    forget(run.settings.kafka, {0: 40})
    checkpoint = Path(ingest_checkpoint(run.settings.data_root))
    for stream in (pipelines.ingest_topic, pipelines.speed_stream):
        with pytest.raises(StreamError, match=r"has lost 7 messages .* --on-data-loss continue"):
            stream(spark, run.settings, available_now=True, rebuild=True)
    assert (checkpoint / "offsets" / "0").exists()
    kafka = run.settings.kafka.model_copy(update={"on_data_loss": "continue"})
    settings = run.settings.model_copy(update={"kafka": kafka})
    assert pipelines.ingest_topic(spark, settings, available_now=True, rebuild=True).batch_received == 26
    assert received_count(str(checkpoint)) == 33 + 26
    stored = event_log.master_dataset_counts(settings.data_root)
    assert stored.stored + sum(stored.rejected.values()) == 33 + 26


def test_without_events_there_is_nothing_to_rebuild_from(spark: SparkSession, new_run: NewSettings) -> None:
    with pytest.raises(NotComputedError, match=r"jobs/ingest_events\.py"):
        pipelines.speed_stream(spark, new_run(), available_now=True, rebuild=True)


def test_tables_of_another_topic_are_no_master_of_this_one(
    spark: SparkSession, run: Run, new_topic: Callable[..., str]
) -> None:
    shutil.rmtree(ingest_checkpoint(run.settings.data_root))
    kafka = run.settings.kafka.model_copy(update={"topic": new_topic()})
    other = run.settings.model_copy(update={"kafka": kafka})
    with pytest.raises(StreamError, match=f"go on with --topic {run.settings.kafka.topic}"):
        pipelines.ingest_topic(spark, other, available_now=True, rebuild=True)
