"""How far a topic holds an event file already, so that a replay goes on there and sends nothing twice.

Each message carries its file and line as headers, and a partition holds the records of a file in the order of their
lines, so the last line in each partition says it all. A consumer group of the file keeps these lines, with the offsets
they were known at: only what came later has to be read. Without the group the whole topic is, with the same result.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from lambda_spark.errors import BrokerError
from lambda_spark.kafka import Topic, open_consumer

_KEEP_SECONDS = 1
_PATIENCE_MS = 60_000


class Origin(NamedTuple):
    """An event file: its name, and the id of its content, by which it is known."""

    file: bytes
    file_id: str


class Mark(NamedTuple):
    """Of the file's records below `offset` in a partition, that of `line` is the last; 0 where there is none."""

    offset: int
    line: int


Marks = dict[int, Mark]


def origin_headers(origin: Origin, line: int) -> list[tuple[str, bytes]]:
    """Return the headers of a message that comes from that line of the file."""
    return [("file", origin.file), ("file_id", origin.file_id.encode()), ("line", b"%d" % line)]


@contextmanager
def open_marks(bootstrap_servers: str, topic: Topic, file_id: str) -> Iterator[tuple[Marks, Callable[[], None]]]:
    """Yield the file's mark in each partition, for the caller to move, and the function that keeps them as they are.

    It may be called often; they are kept at the end too. Raises BrokerError where the topic has got more partitions
    since the file's marks were first kept, or cannot be read to its end.
    """
    with open_consumer(bootstrap_servers, f"replay-{file_id}") as consumer:
        marks = _find_marks(consumer, topic, file_id)
        _keep_marks(consumer, topic, marks)
        kept_at = time.monotonic()

        def keep() -> None:
            nonlocal kept_at
            if time.monotonic() > kept_at + _KEEP_SECONDS:
                _keep_marks(consumer, topic, marks)
                kept_at = time.monotonic()

        yield marks, keep
        _keep_marks(consumer, topic, marks)


def _find_marks(consumer: KafkaConsumer, topic: Topic, file_id: str) -> Marks:
    partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    first, end = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    marks = {}
    for partition in partitions:
        kept = _kept_mark(consumer, topic, partition, end[partition])
        marks[partition.partition] = Mark(max(kept.offset, first[partition]), kept.line)
    start = {partition: marks[partition.partition].offset for partition in partitions}
    for message in _messages(consumer, start, end):
        origin = dict(message.headers)
        is_ours = origin.get("file_id") == file_id.encode()
        line = int(origin["line"]) if is_ours else marks[message.partition].line
        marks[message.partition] = Mark(message.offset + 1, line)
    return marks


def _keep_marks(consumer: KafkaConsumer, topic: Topic, marks: Mapping[int, Mark]) -> None:
    offsets = {}
    for number, mark in marks.items():
        metadata = f"{mark.line} {topic.partitions} {topic.id}"
        offsets[TopicPartition(topic.name, number)] = OffsetAndMetadata(mark.offset, metadata, leader_epoch=-1)
    consumer.commit(offsets)


def _kept_mark(consumer: KafkaConsumer, topic: Topic, partition: TopicPartition, end: int) -> Mark:
    kept = consumer.committed(partition, metadata=True)
    words = kept.metadata.split() if kept and kept.offset <= end else []
    # A topic that was deleted and made anew has another id; and offsets may be set by hand, without a line.
    if len(words) != 3 or words[2] != topic.id:
        return Mark(0, 0)
    line, partitions = int(words[0]), int(words[1])
    if partitions != topic.partitions:
        raise BrokerError(
            f"Topic {topic.name} had {partitions} partitions when the replay of this file began and has "
            f"{topic.partitions} now, so what it holds cannot be told: replay into a new topic with --topic."
        )
    return Mark(kept.offset, line)


def _messages(
    consumer: KafkaConsumer, start: Mapping[TopicPartition, int], end: Mapping[TopicPartition, int]
) -> Iterator[Any]:
    """Yield the messages of each partition from `start` to its `end`, perhaps some beyond."""
    unread = [partition for partition in start if start[partition] < end[partition]]
    consumer.assign(unread)
    for partition in unread:
        consumer.seek(partition, start[partition])
    while any(consumer.position(partition) < end[partition] for partition in unread):
        polled = consumer.poll(timeout_ms=_PATIENCE_MS, max_records=10_000)
        if not polled:
            raise KafkaTimeoutError(
                f"nothing more of topic {unread[0].topic} within {_PATIENCE_MS / 1_000:.0f} seconds"
            )
        for messages in polled.values():
            yield from messages
