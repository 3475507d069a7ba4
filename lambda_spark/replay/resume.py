"""Where a message comes from: the event file and the line, as its headers say.

How far a topic holds event files already, so that a replay goes on there and sends nothing twice.

Each message carries its file and line as headers, and a partition holds the records of a file in the order of their
lines, so the last line in each partition says it all. A consumer group of each file keeps these lines, with the offsets
they were known at: only what came later has to be read, and nothing for a file that is there to its end. Without the
group the whole topic is read, with the same result.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.structs import OffsetAndMetadata

from lambda_spark.errors import BrokerError
from lambda_spark.events.event_files import count_data_lines
from lambda_spark.events.event_files import file_id as content_id
from lambda_spark.kafka.client import Topic, open_admin, open_consumer, retried
from lambda_spark.settings import KafkaSettings


class Origin(NamedTuple):
    """An event file: its name, the id of its content, by which it is known, and the number of its last line."""

    file: bytes
    file_id: str
    last_line: int


def find_origins(files: Iterable[Path]) -> list[Origin]:
    """Return what the files are known by. Raises EventFileError where one cannot be read to its end."""
    return [Origin(os.fsencode(file.name), content_id(file), count_data_lines(file) + 1) for file in files]


def origin_headers(origin: Origin, line: int) -> list[tuple[str, bytes]]:
    """Return the headers of a message that comes from that line of the file."""
    return [("file", origin.file), ("file_id", origin.file_id.encode()), ("line", b"%d" % line)]


_KEEP_SECONDS = 2
_POLL_MS, _PATIENCE = 10_000, 6

# The last messages are looked at first, then ever more of those before them.
_FIRST_LOOK, _LARGEST_LOOK = 100, 100_000


class Mark(NamedTuple):
    """Below `offset` a partition holds all of the file's records up to `line`, and none from further down."""

    offset: int
    line: int


class Place(NamedTuple):
    """Where replays keep their marks: the topic, and the clients to look at it and at its consumer groups."""

    topic: Topic
    admin: KafkaAdminClient
    consumer: KafkaConsumer


# By partition.
Marks = dict[int, Mark]


@contextmanager
def open_place(kafka: KafkaSettings, topic: Topic) -> Iterator[Place]:
    """Open the clients. Raises BrokerError, also for a KafkaError inside the block."""
    with open_admin(kafka) as admin, open_consumer(kafka) as consumer:
        yield Place(topic, admin, consumer)


def find_marks(place: Place, origins: Iterable[Origin]) -> dict[str, Marks]:
    """Return the marks of each file by its id, and keep them.

    Raises BrokerError where the topic has got more partitions since a file's marks were first kept, or cannot be read
    to its end.
    """
    last_lines = {origin.file_id: origin.last_line for origin in origins}
    marks = _kept_marks(place, list(last_lines))
    unfinished = {
        file_id: by_partition
        for file_id, by_partition in marks.items()
        if any(mark.line < last_lines[file_id] for mark in by_partition.values())
    }
    look_again(place, unfinished)
    keep_marks(place, unfinished)
    return marks


def look_again(place: Place, marks: Mapping[str, Marks]) -> None:
    """Move the files' marks to where the topic ends now."""
    for partition, end in place.consumer.end_offsets(_partitions(place.topic)).items():
        number = partition.partition
        start = min((by_partition[number].offset for by_partition in marks.values()), default=end)
        found = _last_lines(place.consumer, partition, start, end, set(marks))
        for file_id, by_partition in marks.items():
            by_partition[number] = Mark(end, max(by_partition[number].line, found.get(file_id, 0)))


def keep_marks(place: Place, marks: Mapping[str, Marks]) -> None:
    """Keep the files' marks for later runs."""
    for file_id, by_partition in marks.items():
        offsets = {}
        for number, mark in by_partition.items():
            metadata = f"{mark.line} {place.topic.partitions} {place.topic.id}"
            partition = TopicPartition(place.topic.name, number)
            offsets[partition] = OffsetAndMetadata(mark.offset, metadata, leader_epoch=-1)
        retried(partial(_commit, place.admin, _group_of(file_id), offsets))


def keeper(place: Place, marks: Mapping[str, Marks]) -> Callable[[Origin], None]:
    """Return what keeps the marks, now and then, while a file is being sent: it may be called often."""
    kept_at = time.monotonic()

    def keep(origin: Origin) -> None:
        nonlocal kept_at
        if time.monotonic() > kept_at + _KEEP_SECONDS:
            _move_along(marks, origin)
            keep_marks(place, marks)
            kept_at = time.monotonic()

    return keep


def finish(marks: Mapping[str, Marks], origin: Origin) -> None:
    """Move the marks to where they are once a file has been sent to its end."""
    _move_along(marks, origin)
    for number, mark in marks[origin.file_id].items():
        marks[origin.file_id][number] = mark._replace(line=origin.last_line)


def _move_along(marks: Mapping[str, Marks], origin: Origin) -> None:
    """Let the marks of all files reach as far as those of the one that is being sent: nobody else sends the others."""
    for by_partition in marks.values():
        for number, mark in by_partition.items():
            by_partition[number] = mark._replace(offset=max(mark.offset, marks[origin.file_id][number].offset))


def _group_of(file_id: str) -> str:
    return f"replay-{file_id}"


def _partitions(topic: Topic) -> list[TopicPartition]:
    return [TopicPartition(topic.name, number) for number in range(topic.partitions)]


def _kept_marks(place: Place, file_ids: list[str]) -> dict[str, Marks]:
    partitions = _partitions(place.topic)
    first, end = place.consumer.beginning_offsets(partitions), place.consumer.end_offsets(partitions)
    groups = {_group_of(file_id): partitions for file_id in file_ids}
    kept = retried(partial(place.admin.list_group_offsets, groups))
    marks: dict[str, Marks] = {file_id: {} for file_id in file_ids}
    for file_id in file_ids:
        for partition in partitions:
            mark = _kept_mark(place.topic, kept[_group_of(file_id)].get(partition), end[partition])
            marks[file_id][partition.partition] = Mark(max(mark.offset, first[partition]), mark.line)
    return marks


def _commit(admin: KafkaAdminClient, group: str, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
    for error in admin.alter_group_offsets(group, offsets).values():
        if error.errno:
            raise error()


def _kept_mark(topic: Topic, kept: OffsetAndMetadata | None, end: int) -> Mark:
    words = kept.metadata.split() if kept and kept.offset <= end else []
    # A topic that was deleted and made anew has another id; and offsets may be set by hand, without a line.
    if kept is None or len(words) != 3 or words[2] != topic.id:
        return Mark(0, 0)
    line, partitions = int(words[0]), int(words[1])
    if partitions != topic.partitions:
        raise BrokerError(
            f"Topic {topic.name} had {partitions} partitions when the replay of this file began and has "
            f"{topic.partitions} now, so what it holds cannot be told: replay into a new topic with --topic."
        )
    return Mark(kept.offset, line)


def _last_lines(
    consumer: KafkaConsumer, partition: TopicPartition, start: int, end: int, file_ids: set[str]
) -> dict[str, int]:
    """Return the line of each file's last message from `start` to `end`, where there is one; read from the end."""
    found: dict[str, int] = {}
    size = _FIRST_LOOK
    while start < end and len(found) < len(file_ids):
        lines = {}
        for message in messages_between(consumer, partition, max(start, end - size), end):
            origin = dict(message.headers)
            if (file_id := origin.get("file_id", b"").decode("ascii", "replace")) in file_ids:
                lines[file_id] = int(origin["line"])
        found = {**lines, **found}
        end, size = end - size, min(size * 10, _LARGEST_LOOK)
    return found


def messages_between(consumer: KafkaConsumer, partition: TopicPartition, start: int, end: int) -> Iterator[Any]:
    """Read the messages from one offset up to another of a partition. Raises KafkaTimeoutError."""
    consumer.assign([partition])
    consumer.seek(partition, start)
    patience = _PATIENCE
    while consumer.position(partition) < end:
        polled = consumer.poll(timeout_ms=_POLL_MS, max_records=10_000)
        # More than once: the whole machine may have slept through a poll.
        patience = _PATIENCE if polled else patience - 1
        if not patience:
            raise KafkaTimeoutError(f"nothing more of topic {partition.topic} within {_PATIENCE * _POLL_MS // 1_000} s")
        yield from (message for message in polled.get(partition, ()) if message.offset < end)
