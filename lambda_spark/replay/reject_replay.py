"""Rejected messages that the present rule accepts as events: sent to the topic again, each once.

`replayed_rejects` records what was sent. Kafka and the table have no common commit, so each message has the coordinates
of its reject as headers, and the table's log has the offsets from which on the topic may contain such messages without
a row (docs/adr/0023-replayed-rejects.md).
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import NamedTuple

import deltalake
import pyarrow as pa
import pyarrow.compute as pc
from deltalake.transaction import CommitProperties
from kafka import TopicPartition

from lambda_spark import engine
from lambda_spark.delta import tables
from lambda_spark.delta.coverage import offset_metadata, offsets_of
from lambda_spark.delta.storage import exclusive_lock
from lambda_spark.delta.tables import REJECTED_EVENTS, REPLAYED_REJECTS
from lambda_spark.errors import LambdaSparkError
from lambda_spark.events import parsing
from lambda_spark.kafka.client import open_consumer, open_producer, read_content
from lambda_spark.replay.resume import messages_between
from lambda_spark.schemas import Offsets
from lambda_spark.settings import KafkaSettings, Settings

# The headers of a message that was rejected before.
_PARTITION, _OFFSET = "rejected_partition", "rejected_offset"

# As schemas.REPLAYED_REJECTS, for a job without Spark.
_SCHEMA = pa.schema(
    [
        ("source_topic", pa.string()),
        ("source_partition", pa.int32()),
        ("source_offset", pa.int64()),
        ("replayed_at", pa.timestamp("us", "UTC")),
    ]
)

# Partition and offset of a rejected message.
Coordinates = tuple[int, int]


class RejectCounts(NamedTuple):
    """Per reason: the messages rejected, those of them sent before, and those of the rest that are events now."""

    reason: str
    rejected: int
    sent_before: int
    accepted: int


class AcceptedReject(NamedTuple):
    """A rejected message that the present rule accepts as an event."""

    coordinates: Coordinates
    reason: str
    user_id: int
    value: str


def replay_rejects(settings: Settings, send: bool) -> list[RejectCounts]:
    """Find the rejected messages of the topic that are events by the present rule; with `send`, send them again.

    One entry per reason. Raises NotComputedError if nothing was ever stored, BrokerError, and LambdaSparkError if
    another run has the lock.
    """
    root, kafka = settings.data_root, settings.kafka
    tables.require(root, REJECTED_EVENTS)
    path = tables.path_of(root, REPLAYED_REJECTS)
    with exclusive_lock(
        path, LambdaSparkError(f"The rejects of {root} are being replayed already: wait until that has ended.")
    ):
        recorded = _recorded(root, kafka.topic)
        start = offsets_of(tables.lineage_of(root, REPLAYED_REJECTS), kafka.topic)
        unrecorded = _sent_since(kafka, start) - recorded
        rejected, sent_before, accepted = _apply_rule(root, kafka.topic, recorded | unrecorded)
        if send and unrecorded:
            _commit(root, kafka.topic, unrecorded, {})
        if send and accepted:
            _commit(root, kafka.topic, [], read_content(kafka).end)
            _send(kafka, accepted)
            _commit(root, kafka.topic, [each.coordinates for each in accepted], {})
    found = Counter(each.reason for each in accepted)
    return [RejectCounts(reason, n, sent_before[reason], found[reason]) for reason, n in sorted(rejected.items())]


def _recorded(root: str, topic: str) -> set[Coordinates]:
    """Return the rejects that `replayed_rejects` records as sent."""
    if not tables.exists(root, REPLAYED_REJECTS):
        return set()
    rows = tables.open_dataset(root, REPLAYED_REJECTS).to_table(filter=pc.field("source_topic") == topic)
    return set(zip(rows["source_partition"].to_pylist(), rows["source_offset"].to_pylist(), strict=True))


def _sent_since(kafka: KafkaSettings, start: Offsets) -> set[Coordinates]:
    """Return the rejects that the topic contains again from these offsets on; none without offsets."""
    if not start:
        return set()
    content = read_content(kafka)
    with open_consumer(kafka) as consumer:
        return {
            (int(headers[_PARTITION]), int(headers[_OFFSET]))
            for number, end in content.end.items()
            for message in messages_between(
                consumer, TopicPartition(kafka.topic, number), max(start.get(number, 0), content.first[number]), end
            )
            if _OFFSET in (headers := dict(message.headers))
        }


def _apply_rule(
    root: str, topic: str, sent: set[Coordinates]
) -> tuple[Counter[str], Counter[str], list[AcceptedReject]]:
    """Return by reason how many rejects the topic has and how many were sent, and the other rejects that are events."""
    rejected, sent_before, accepted = Counter[str](), Counter[str](), list[AcceptedReject]()
    stored = tables.open_dataset(root, REJECTED_EVENTS)
    columns = ["value", "reason", "source_topic", "source_partition", "source_offset"]
    for batch in stored.to_batches(columns=columns, filter=pc.field("source_topic") == topic):
        users = _users(batch)
        for row in batch.to_pylist():
            coordinates = row["source_partition"], row["source_offset"]
            rejected[row["reason"]] += 1
            if coordinates in sent:
                sent_before[row["reason"]] += 1
            elif coordinates in users:
                accepted.append(AcceptedReject(coordinates, row["reason"], users[coordinates], row["value"]))
    return rejected, sent_before, accepted


def _users(rejects: pa.RecordBatch) -> dict[Coordinates, int]:
    """Return the user of each reject that the parse rule accepts as an event."""
    values = rejects["value"].cast(pa.binary())
    names = {"topic": "source_topic", "partition": "source_partition", "offset": "source_offset"}
    messages = pa.record_batch({"value": values, **{name: rejects[column] for name, column in names.items()}})
    table = parsing.message_table([messages])
    parsed = engine.run_sql(engine.connect(), parsing.PARSE_MESSAGES, messages=table)
    events = parsed.filter(pc.is_null(parsed["reason"])).select(["source_partition", "source_offset", "user_id"])
    return {(row["source_partition"], row["source_offset"]): row["user_id"] for row in events.to_pylist()}


def _send(kafka: KafkaSettings, accepted: Iterable[AcceptedReject]) -> None:
    """Send the messages with their user as key, and wait until each is acknowledged."""
    topic = read_content(kafka).topic
    with open_producer(kafka, topic) as producer:
        futures = [
            producer.send(topic.name, each.value.encode(), str(each.user_id).encode(), _headers(each.coordinates))
            for each in accepted
        ]
        producer.flush()
        for future in futures:
            future.get()


def _headers(coordinates: Coordinates) -> list[tuple[str, bytes]]:
    return [(name, b"%d" % number) for name, number in zip((_PARTITION, _OFFSET), coordinates, strict=True)]


def _commit(root: str, topic: str, sent: Iterable[Coordinates], sending_from: Offsets) -> None:
    """Record what was sent, and the offsets from which on the topic may contain more; fails on a concurrent commit."""
    now = datetime.now(timezone.utc)
    rows = [(topic, partition, offset, now) for partition, offset in sent]
    columns = zip(*rows, strict=True) if rows else [[]] * len(_SCHEMA)
    deltalake.write_deltalake(
        tables.path_of(root, REPLAYED_REJECTS),
        pa.table(list(map(list, columns)), schema=_SCHEMA),
        mode="append",
        commit_properties=CommitProperties(tables.commit_metadata(offset_metadata(topic, sending_from)), 0),
    )
