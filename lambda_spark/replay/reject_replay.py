"""Rejected messages that the present rule takes for events: sent to the topic again, each once.

What was sent stands in `replayed_rejects`. Kafka and the table have no commit in common, so each message says in its
headers which reject it is, and the table's log says from where in the topic such messages may lie that no row tells of
yet (docs/adr/0023-replayed-rejects.md).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
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
Place = tuple[int, int]


class RejectCounts(NamedTuple):
    """How many messages a reason has, how many were sent before, and how many of the others the present rule takes."""

    reason: str
    rejected: int
    sent_before: int
    accepted: int


class Accepted(NamedTuple):
    """A rejected message that the present rule takes for an event."""

    place: Place
    reason: str
    user_id: int
    value: str


def replay_rejects(settings: Settings, send: bool) -> list[RejectCounts]:
    """Find, and if told so send, what was rejected of the topic and would not be today. One entry per reason.

    Raises NotComputedError where nothing was ever stored, BrokerError, and LambdaSparkError where it runs already.
    """
    root, kafka = settings.data_root, settings.kafka
    tables.require(root, REJECTED_EVENTS)
    path = tables.path_of(root, REPLAYED_REJECTS)
    with exclusive_lock(
        path, LambdaSparkError(f"The rejects of {root} are being replayed already: wait until that has ended.")
    ):
        told = _told(root, kafka.topic)
        untold = _sent_since(kafka, offsets_of(tables.lineage_of(root, REPLAYED_REJECTS), kafka.topic)) - told
        rejected, sent_before, accepted = _judge(root, kafka.topic, told | untold)
        if send and untold:
            _commit(root, kafka.topic, untold, {})
        if send and accepted:
            _commit(root, kafka.topic, [], read_content(kafka).end)
            _send(kafka, accepted)
            _commit(root, kafka.topic, [each.place for each in accepted], {})
    found = Counter(each.reason for each in accepted)
    return [RejectCounts(reason, n, sent_before[reason], found[reason]) for reason, n in sorted(rejected.items())]


def _told(root: str, topic: str) -> set[Place]:
    """Return the rejects that the table says were sent."""
    if not tables.exists(root, REPLAYED_REJECTS):
        return set()
    rows = tables.open_dataset(root, REPLAYED_REJECTS).to_table(filter=pc.field("source_topic") == topic)
    return set(zip(rows["source_partition"].to_pylist(), rows["source_offset"].to_pylist(), strict=True))


def _sent_since(kafka: KafkaSettings, start: Offsets) -> set[Place]:
    """Look in the topic for rejects that were sent again, from these offsets on; without any, all are told."""
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


def _judge(root: str, topic: str, sent: set[Place]) -> tuple[Counter[str], Counter[str], list[Accepted]]:
    """Apply the present rule to what was rejected of the topic: all and those sent, by reason, and what passes now."""
    rejected, sent_before, accepted = Counter[str](), Counter[str](), list[Accepted]()
    stored = tables.open_dataset(root, REJECTED_EVENTS)
    columns = ["value", "reason", "source_topic", "source_partition", "source_offset"]
    for batch in stored.to_batches(columns=columns, filter=pc.field("source_topic") == topic):
        users = _users(batch)
        for row in batch.to_pylist():
            place = row["source_partition"], row["source_offset"]
            rejected[row["reason"]] += 1
            if place in sent:
                sent_before[row["reason"]] += 1
            elif place in users:
                accepted.append(Accepted(place, row["reason"], users[place], row["value"]))
    return rejected, sent_before, accepted


def _users(rejects: pa.RecordBatch) -> dict[Place, int]:
    """Return the user of each reject that the rule of both layers takes for an event today."""
    values = rejects["value"].cast(pa.binary())
    names = {"topic": "source_topic", "partition": "source_partition", "offset": "source_offset"}
    messages = pa.record_batch({"value": values, **{name: rejects[column] for name, column in names.items()}})
    table = parsing.message_table([messages])
    parsed = engine.run_sql(engine.connect(), parsing.PARSE_MESSAGES, messages=table)
    events = parsed.filter(pc.is_null(parsed["reason"])).select(["source_partition", "source_offset", "user_id"])
    return {(row["source_partition"], row["source_offset"]): row["user_id"] for row in events.to_pylist()}


def _send(kafka: KafkaSettings, accepted: Iterable[Accepted]) -> None:
    """Send them under their user, as any event is, and wait until each is acknowledged."""
    topic = read_content(kafka).topic
    with open_producer(kafka, topic) as producer:
        futures = [
            producer.send(topic.name, each.value.encode(), str(each.user_id).encode(), list(_headers(each.place)))
            for each in accepted
        ]
        producer.flush()
        for future in futures:
            future.get()


def _headers(place: Place) -> Iterator[tuple[str, bytes]]:
    for name, number in zip((_PARTITION, _OFFSET), place, strict=True):
        yield name, str(number).encode()


def _commit(root: str, topic: str, places: Iterable[Place], sending_from: Offsets) -> None:
    """Tell what was sent, and from where on the topic may have more of it; no other writer may come between."""
    now = datetime.now(timezone.utc)
    rows = [(topic, partition, offset, now) for partition, offset in places]
    columns = zip(*rows, strict=True) if rows else [[]] * len(_SCHEMA)
    deltalake.write_deltalake(
        tables.path_of(root, REPLAYED_REJECTS),
        pa.table(list(map(list, columns)), schema=_SCHEMA),
        mode="append",
        commit_properties=CommitProperties(tables.commit_metadata(offset_metadata(topic, sending_from)), 0),
    )
