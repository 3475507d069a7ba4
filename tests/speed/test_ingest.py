"""Topic and files -> the master dataset: exactly once, every message accounted for, the bad ones with their reason."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import NewSettings, contents, event, random_events, send, versions, write_events
from kafka import KafkaAdminClient, TopicPartition
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta import commits
from lambda_spark.delta.event_log import Counts
from lambda_spark.delta.tables import EVENTS, REJECTED_EVENTS
from lambda_spark.kafka.client import message_count
from lambda_spark.replay.replay import replay
from lambda_spark.schemas import Reason
from lambda_spark.settings import Settings

COORDINATES = ("source_topic", "source_partition", "source_offset", "source_file", "source_line")
# Small batches: each holds some of the topic's messages.
INGEST = {"max_messages_per_trigger": 60, "trigger": "0 seconds"}
DENSE = "rees46-multi-2019-10-01.csv"


def damaged(**values: object) -> bytes:
    """Return an event that is none because of these values, as a message."""
    return json.dumps(event("2020-03-01 12:00:00", 1, 1) | values).encode()


NOT_EVENTS = [
    (None, Reason.EMPTY_MESSAGE),
    (b"", Reason.NOT_A_JSON_OBJECT),
    (b"no event", Reason.NOT_A_JSON_OBJECT),
    (b"[1, 2]", Reason.NOT_A_JSON_OBJECT),
    (damaged()[:50], Reason.NOT_A_JSON_OBJECT),
    (b"\xff\xfe" + damaged(), Reason.NOT_UTF8),
    (b"x" * 2_000_000, Reason.TOO_LONG),
    (damaged(brand="x" * 2_000_000), Reason.TOO_LONG),
    (damaged(user_id=None), Reason.USER_ID_MISSING),
    (damaged(user_id={"id": 1}), Reason.USER_ID_MALFORMED),
    (damaged(user_id=True), Reason.USER_ID_MALFORMED),
    (damaged(product_id=5.0), Reason.PRODUCT_ID_DAMAGED),
    (damaged(category_id="2.10381E+18"), Reason.CATEGORY_ID_DAMAGED),
    (damaged(price=-1), Reason.PRICE_MALFORMED),
    (damaged(event_time="yesterday"), Reason.EVENT_TIME_MALFORMED),
    (damaged(event_type="View!"), Reason.EVENT_TYPE_MALFORMED),
    (damaged(event_type=True), Reason.EVENT_TYPE_MALFORMED),
    (damaged(brand=["a", "b"]), Reason.TEXT_MALFORMED),
    (damaged(brand="deep").replace(b'"deep"', b"[" * 30_000 + b"]" * 30_000), Reason.TEXT_MALFORMED),
]
REJECTED = Counter(reason.value for _, reason in NOT_EVENTS)


def in_between(good: list[dict[str, str]]) -> list[dict[str, str] | bytes | None]:
    """Return good events with all that are none spread among them."""
    messages: list[dict[str, str] | bytes | None] = list(good)
    for place, (message, _) in enumerate(NOT_EVENTS):
        messages.insert(3 * place, message)
    return messages


@pytest.fixture(scope="module")
def topic(spark: SparkSession, new_run: NewSettings) -> SimpleNamespace:
    """Fill a topic in two steps; ingest runs after each, and once where nothing is new."""
    settings = new_run(ingest=INGEST)
    early, late = random_events(60, 1), random_events(20, 2)
    send(settings.kafka, in_between(early))
    counts = [pipelines.ingest_topic(spark, settings, available_now=True)]
    before = versions(settings.data_root)
    counts.append(pipelines.ingest_topic(spark, settings, available_now=True))
    after = versions(settings.data_root)
    send(settings.kafka, late)
    counts.append(pipelines.ingest_topic(spark, settings, available_now=True))
    return SimpleNamespace(settings=settings, counts=counts, idle=(before, after), good=early + late)


@pytest.fixture(scope="module")
def new_root(topic: SimpleNamespace, new_settings: NewSettings) -> Callable[[], Settings]:
    """Return what makes settings for another ingest of the same topic, from its first message on."""
    kafka = topic.settings.kafka.model_dump()
    return lambda: new_settings(kafka=kafka, ingest=INGEST)


def master_dataset(settings: Settings) -> tuple[Counter[str], Counter[str]]:
    root = settings.data_root
    return contents(root, EVENTS), contents(root, REJECTED_EVENTS, ["rejected_at"])


def test_every_message_is_counted_as_stored_or_rejected_by_reason(topic: SimpleNamespace) -> None:
    assert topic.counts[0] == Counts(batch_received=79, stored=60, rejected=REJECTED)
    assert topic.counts[2] == Counts(batch_received=20, stored=20)


def test_a_rerun_without_new_messages_changes_no_table(topic: SimpleNamespace) -> None:
    before, after = topic.idle
    assert topic.counts[1] == Counts(batch_received=0, stored=0)
    assert before == after


def test_each_event_is_stored_once_with_its_values(spark: SparkSession, topic: SimpleNamespace) -> None:
    rows = commits.read(spark, topic.settings.data_root, EVENTS).collect()
    wanted = Counter((e["user_id"], e["product_id"], e["event_time"][:19], e["brand"] or None) for e in topic.good)
    stored = Counter((str(r.user_id), str(r.product_id), f"{r.event_time:%F %T}", r.brand) for r in rows)
    assert stored == wanted
    assert len({(row.source_partition, row.source_offset) for row in rows}) == len(rows) == 80
    assert {row.source_topic for row in rows} == {topic.settings.kafka.topic}
    assert {str(row.event_date) for row in rows} == {"2020-03-01", "2020-03-02", "2020-03-03"}


def test_what_is_no_event_is_kept_as_it_came_with_reason_and_coordinates(
    spark: SparkSession, topic: SimpleNamespace
) -> None:
    rows = commits.read(spark, topic.settings.data_root, REJECTED_EVENTS).collect()
    as_text = [(m if m is None else m.decode(errors="backslashreplace"), reason.value) for m, reason in NOT_EVENTS]
    assert Counter((row.value, row.reason) for row in rows) == Counter(as_text)
    events = commits.read(spark, topic.settings.data_root, EVENTS).select(*COORDINATES[:3]).collect()
    coordinates = {tuple(row) for row in events} | {tuple(row[name] for name in COORDINATES[:3]) for row in rows}
    assert len(coordinates) == 99
    assert all(row.rejected_at for row in rows)


def test_ingest_runs_until_sigterm_and_loses_nothing(
    spark: SparkSession, topic: SimpleNamespace, new_root: Callable[[], Settings]
) -> None:
    settings = new_root()

    def stop(_: object, batch_id: int, *__: object) -> None:
        if batch_id == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    first = pipelines.ingest_topic(spark, settings, available_now=False, on_batch=stop)
    second = pipelines.ingest_topic(spark, settings, available_now=True)
    assert first.batch_received + second.batch_received == 99
    assert first.stored + second.stored == 80
    assert master_dataset(settings) == master_dataset(topic.settings)


def test_a_topic_that_does_not_begin_at_zero_is_counted_right(spark: SparkSession, new_run: NewSettings) -> None:
    settings = new_run()
    send(settings.kafka, [event("2020-03-01 12:00:00", 1, 1)] * 5)
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    admin.delete_records({TopicPartition(settings.kafka.topic, part): -1 for part in range(4)})
    admin.close()
    send(settings.kafka, [event("2020-03-01 12:00:00", 1, 1)] * 2)
    assert message_count(settings.kafka) == 2
    assert pipelines.ingest_topic(spark, settings, available_now=True) == Counts(batch_received=2, stored=2)


def test_a_file_is_stored_once_whatever_its_name(
    spark: SparkSession, new_settings: NewSettings, tmp_path: Path
) -> None:
    settings, rows = new_settings(), random_events(20, 3)
    file = write_events(tmp_path / "events.csv", [*rows, {**rows[0], "user_id": "5.5E+8"}])
    copy = Path(tmp_path / "copy.csv")
    copy.write_bytes(file.read_bytes())
    rejected = {Reason.USER_ID_DAMAGED.value: 1}
    assert pipelines.ingest_files(spark, settings, [file]) == Counts(batch_received=21, stored=20, rejected=rejected)
    before = versions(settings.data_root)
    assert pipelines.ingest_files(spark, settings, [file, copy]) == Counts(batch_received=0, stored=0)
    assert versions(settings.data_root) == before


def test_a_real_file_gives_the_same_events_through_the_topic_and_directly(
    spark: SparkSession, new_run: NewSettings, new_settings: NewSettings, real_file: Callable[[str], Path]
) -> None:
    file, streamed, loaded = real_file(DENSE), new_run(), new_settings()
    assert replay(streamed.kafka, [file]).sent == 17_435
    # Its last line is cut off inside the user's id. To the topic it is raw text, to the file a line too short.
    for run, reason in (
        (pipelines.ingest_topic(spark, streamed, available_now=True), Reason.NOT_A_JSON_OBJECT),
        (pipelines.ingest_files(spark, loaded, [file]), Reason.NOT_NINE_FIELDS),
    ):
        assert run == Counts(batch_received=17_435, stored=17_434, rejected={reason.value: 1})
    assert contents(streamed.data_root, EVENTS, COORDINATES) == contents(loaded.data_root, EVENTS, COORDINATES)
    cut = [commits.read(spark, settings.data_root, REJECTED_EVENTS).first() for settings in (streamed, loaded)]
    assert cut[0].value == cut[1].value == "2019-10-01 02:50:00 UTC,view,10900305," + cut[0].value[38:]
    assert (cut[1].source_file, cut[1].source_line) == (DENSE, 17_436)
