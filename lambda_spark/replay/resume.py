"""How far a topic contains event files already, so that a replay resumes there and sends nothing twice.

Each message has its file and line as headers, and a partition contains the records of a file in the order of their
lines, so the last line per partition is enough. A consumer group per file stores these lines with the offsets up to
which they were read: only later messages must be read again, and none for a file that is complete. Without the group
the whole topic is read, with the same result. Own code: kafka-python commits offsets, but neither it nor Spark's sink
records which lines of a file a topic contains.
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
from lambda_spark.kafka.client import Topic, open_admin, open_consumer, retry
from lambda_spark.settings import KafkaSettings

_COMMIT_SECONDS = 2
_POLL_MS, _POLLS = 10_000, 6

# The last messages of a partition are read first, then larger and larger ranges before them.
_FIRST_RANGE, _LARGEST_RANGE = 100, 100_000


class SourceFile(NamedTuple):
    """An event file: its name, the id of its content, which identifies it, and the number of its last line."""

    name: bytes
    file_id: str
    last_line: int


class Position(NamedTuple):
    """Below `offset` a partition contains all records of a file up to `line`, and none of later lines."""

    offset: int
    line: int


class TopicClients(NamedTuple):
    """A topic, with the clients that read it and its consumer groups."""

    topic: Topic
    admin: KafkaAdminClient
    consumer: KafkaConsumer


# By partition.
Positions = dict[int, Position]


def source_files(files: Iterable[Path]) -> list[SourceFile]:
    """Return one entry per file, in order. Raises EventFileError if one can't be read to its end."""
    return [SourceFile(os.fsencode(file.name), content_id(file), count_data_lines(file) + 1) for file in files]


def source_headers(source: SourceFile, line: int) -> list[tuple[str, bytes]]:
    """Return the headers of the message for that line of the file."""
    return [("file", source.name), ("file_id", source.file_id.encode()), ("line", b"%d" % line)]


@contextmanager
def open_clients(kafka: KafkaSettings, topic: Topic) -> Iterator[TopicClients]:
    """Open the clients. Raises BrokerError, also for a KafkaError inside the block."""
    with open_admin(kafka) as admin, open_consumer(kafka) as consumer:
        yield TopicClients(topic, admin, consumer)


def find_positions(clients: TopicClients, sources: Iterable[SourceFile]) -> dict[str, Positions]:
    """Return the positions of each file by its id, and commit them.

    Raises BrokerError if the topic has more partitions than when a file's positions were first committed, or can't be
    read to its end.
    """
    last_lines = {source.file_id: source.last_line for source in sources}
    positions = _committed_positions(clients, list(last_lines))
    unfinished = {
        file_id: of_file
        for file_id, of_file in positions.items()
        if any(position.line < last_lines[file_id] for position in of_file.values())
    }
    read_to_end(clients, unfinished)
    commit_positions(clients, unfinished)
    return positions


def read_to_end(clients: TopicClients, positions: Mapping[str, Positions]) -> None:
    """Move the files' positions to the present end of the topic."""
    for partition, end in clients.consumer.end_offsets(_partitions(clients.topic)).items():
        number = partition.partition
        start = min((of_file[number].offset for of_file in positions.values()), default=end)
        found = _last_lines(clients.consumer, partition, start, end, set(positions))
        for file_id, of_file in positions.items():
            of_file[number] = Position(end, max(of_file[number].line, found.get(file_id, 0)))


def commit_positions(clients: TopicClients, positions: Mapping[str, Positions]) -> None:
    """Commit the positions of each file as the offsets of its consumer group."""
    for file_id, of_file in positions.items():
        offsets = {}
        for number, position in of_file.items():
            metadata = f"{position.line} {clients.topic.partitions} {clients.topic.id}"
            partition = TopicPartition(clients.topic.name, number)
            offsets[partition] = OffsetAndMetadata(position.offset, metadata, leader_epoch=-1)
        retry(partial(_commit, clients.admin, _group_of(file_id), offsets))


def periodic_commit(clients: TopicClients, positions: Mapping[str, Positions]) -> Callable[[SourceFile], None]:
    """Return a function to be called often while a file is being sent: it commits the positions every two seconds."""
    committed_at = time.monotonic()

    def commit(source: SourceFile) -> None:
        nonlocal committed_at
        if time.monotonic() > committed_at + _COMMIT_SECONDS:
            _advance_offsets(positions, source)
            commit_positions(clients, positions)
            committed_at = time.monotonic()

    return commit


def mark_complete(positions: Mapping[str, Positions], source: SourceFile) -> None:
    """Move the positions to the last line of a file that has been sent to its end."""
    _advance_offsets(positions, source)
    for number, position in positions[source.file_id].items():
        positions[source.file_id][number] = position._replace(line=source.last_line)


def messages_between(consumer: KafkaConsumer, partition: TopicPartition, start: int, end: int) -> Iterator[Any]:
    """Yield the messages of a partition from the offset `start` up to and without `end`. Raises KafkaTimeoutError."""
    consumer.assign([partition])
    consumer.seek(partition, start)
    polls_left = _POLLS
    while consumer.position(partition) < end:
        polled = consumer.poll(timeout_ms=_POLL_MS, max_records=10_000)
        # More than one poll: the machine may have been suspended during it.
        polls_left = _POLLS if polled else polls_left - 1
        if not polls_left:
            raise KafkaTimeoutError(f"nothing more of topic {partition.topic} within {_POLLS * _POLL_MS // 1_000} s")
        yield from (message for message in polled.get(partition, ()) if message.offset < end)


def _advance_offsets(positions: Mapping[str, Positions], source: SourceFile) -> None:
    """Move the offsets of all files to those of the file that is being sent: nobody else sends the other files."""
    for of_file in positions.values():
        for number, position in of_file.items():
            of_file[number] = position._replace(offset=max(position.offset, positions[source.file_id][number].offset))


def _group_of(file_id: str) -> str:
    return f"replay-{file_id}"


def _partitions(topic: Topic) -> list[TopicPartition]:
    return [TopicPartition(topic.name, number) for number in range(topic.partitions)]


def _commit(admin: KafkaAdminClient, group: str, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
    for error in admin.alter_group_offsets(group, offsets).values():
        if error.errno:
            raise error()


def _committed_positions(clients: TopicClients, file_ids: list[str]) -> dict[str, Positions]:
    partitions = _partitions(clients.topic)
    first, end = clients.consumer.beginning_offsets(partitions), clients.consumer.end_offsets(partitions)
    groups = {_group_of(file_id): partitions for file_id in file_ids}
    committed = retry(partial(clients.admin.list_group_offsets, groups))
    positions: dict[str, Positions] = {file_id: {} for file_id in file_ids}
    for file_id in file_ids:
        for partition in partitions:
            found = _parse_position(clients.topic, committed[_group_of(file_id)].get(partition), end[partition])
            positions[file_id][partition.partition] = Position(max(found.offset, first[partition]), found.line)
    return positions


def _parse_position(topic: Topic, committed: OffsetAndMetadata | None, end: int) -> Position:
    words = committed.metadata.split() if committed and committed.offset <= end else []
    # A topic that was deleted and created again has another id; and offsets may be set by hand, without a line.
    if committed is None or len(words) != 3 or words[2] != topic.id:
        return Position(0, 0)
    line, partitions = int(words[0]), int(words[1])
    if partitions != topic.partitions:
        raise BrokerError(
            f"Topic {topic.name} had {partitions} partitions when the replay of this file began and has "
            f"{topic.partitions} now, so the missing lines can't be found: replay into a new topic with --topic."
        )
    return Position(committed.offset, line)


def _last_lines(
    consumer: KafkaConsumer, partition: TopicPartition, start: int, end: int, file_ids: set[str]
) -> dict[str, int]:
    """Return, for each file with messages from `start` to `end`, the line of the last one; reads from the end."""
    found: dict[str, int] = {}
    size = _FIRST_RANGE
    while start < end and len(found) < len(file_ids):
        lines = {}
        for message in messages_between(consumer, partition, max(start, end - size), end):
            headers = dict(message.headers)
            if (file_id := headers.get("file_id", b"").decode("ascii", "replace")) in file_ids:
                lines[file_id] = int(headers["line"])
        found = {**lines, **found}
        end, size = end - size, min(size * 10, _LARGEST_RANGE)
    return found
