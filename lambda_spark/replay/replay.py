"""Event files -> the topic, each record once: as JSON of its nine texts, or unchanged if it doesn't have nine."""

import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from threading import Event
from typing import NamedTuple

from kafka import KafkaProducer
from kafka.errors import MessageSizeTooLargeError

from lambda_spark.errors import EventFileError, SettingsError, stop_requested
from lambda_spark.events.event_files import Record, read_records
from lambda_spark.kafka.client import Topic, ensure_topic, open_producer
from lambda_spark.replay.messages import Message, message_of, partition_of
from lambda_spark.replay.resume import (
    Position,
    Positions,
    SourceFile,
    commit_positions,
    find_positions,
    mark_complete,
    open_clients,
    periodic_commit,
    source_files,
    source_headers,
)
from lambda_spark.schemas import EVENT_COLUMNS
from lambda_spark.settings import KafkaSettings

_EVENT_TIME = EVENT_COLUMNS.index("event_time")

# Records are sent in batches, and each batch must be acknowledged before the next one: this bounds the memory.
_BATCH_BYTES = 2_000_000
_BATCH_SKIPPED = 20_000
_ACKNOWLEDGE_SECONDS = 60

# Seconds; a record that is due sooner is sent at once.
_SHORTEST_WAIT = 0.02


class Replayed(NamedTuple):
    """The number of records that were sent, and of those that were in the topic already."""

    sent: int
    already_there: int

    def sentence(self, topic: str) -> str:
        """Return both numbers in a sentence."""
        return f"Sent {self.sent:,} records to topic {topic} ({self.already_there:,} were there already)."


class ReplayStopped(KeyboardInterrupt):
    """Raised if Ctrl-C or SIGTERM ends a replay; `replayed` has the counts so far. A later replay resumes there."""

    def __init__(self, replayed: Replayed, topic: str) -> None:
        super().__init__(f"Stopped. The same command resumes here. {replayed.sentence(topic)}")
        self.replayed = replayed


def replay(
    kafka: KafkaSettings,
    files: Sequence[Path],
    *,
    speed: float | None = None,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Send the files' records, or the first `limit` of them, that are not in the topic yet.

    The topic is created if it doesn't exist. The records are sent `speed` times as fast as their event times, or
    without `speed` as fast as possible. `on_progress` is called with the records done and their total, which is a
    little too high for files with empty lines.
    Raises ReplayStopped, SettingsError, EventFileError and BrokerError; nothing is sent if a file is damaged.
    """
    _check_options(speed, limit)
    sources = source_files(files)
    total = min(sum(source.last_line - 1 for source in sources), sys.maxsize if limit is None else limit)
    topic = ensure_topic(kafka)
    sent = already_there = 0
    pace = _seconds_until_due(speed)
    with (
        _rare_garbage_collection(),
        stop_requested() as stop,
        open_producer(kafka, topic) as producer,
        open_clients(kafka, topic) as clients,
    ):
        positions = find_positions(clients, sources)
        commit = periodic_commit(clients, positions)
        for source, messages, skipped in _all_batches(files, sources, positions, limit, pace, stop):
            _send(producer, topic, source, messages, positions[source.file_id])
            commit(source)
            sent, already_there = sent + len(messages), already_there + skipped
            if on_progress:
                on_progress(sent + already_there, total)
        commit_positions(clients, positions)
        if stop.is_set():
            raise ReplayStopped(Replayed(sent, already_there), topic.name)
    return Replayed(sent, already_there)


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Collect garbage rarely inside the block: records have no cycles, and scanning them takes a fifth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _check_options(speed: float | None, limit: int | None) -> None:
    if speed is not None and not speed > 0:
        raise SettingsError(f"The speed cannot be {speed:g}: give a number above 0, or none to go as fast as possible.")
    if limit is not None and limit < 0:
        raise SettingsError(f"The limit cannot be {limit}: give a number of records, or none for all of them.")


def _all_batches(
    files: Iterable[Path],
    sources: Iterable[SourceFile],
    positions: Mapping[str, Positions],
    limit: int | None,
    pace: Callable[[Record], float],
    stop: Event,
) -> Iterator[tuple[SourceFile, list[Message], int]]:
    """Yield the batches of all files, each with its file; mark a file complete once its last batch has been sent."""
    left = limit
    for file, source in zip(files, sources, strict=True):
        for messages, skipped in _batches(islice(read_records(file), left), positions[source.file_id], pace, stop):
            yield source, messages, skipped
            left = None if left is None else left - len(messages) - skipped
        if limit is None and not stop.is_set():
            mark_complete(positions, source)


def _batches(
    records: Iterable[Record], positions: Positions, pace: Callable[[Record], float], stop: Event
) -> Iterator[tuple[list[Message], int]]:
    """Yield the messages to send next and the number of records skipped; wait until a record is due."""
    messages: list[Message] = []
    size = skipped = 0
    for record in records:
        partition = partition_of(record, len(positions))
        is_new = record.line > positions[partition].line
        is_early = is_new and pace(record) > _SHORTEST_WAIT
        if is_early or size >= _BATCH_BYTES or skipped >= _BATCH_SKIPPED:
            yield messages, skipped
            messages, size, skipped = [], 0, 0
        if is_early:
            stop.wait(pace(record))
        if stop.is_set():
            break
        if is_new:
            message = message_of(record, partition)
            messages.append(message)
            size += len(message.value)
        else:
            skipped += 1
    yield messages, skipped


def _send(
    producer: KafkaProducer, topic: Topic, source: SourceFile, messages: list[Message], positions: Positions
) -> None:
    """Send the messages, wait until each is acknowledged, and move the positions of their partitions."""
    futures = []
    for message in messages:
        headers = source_headers(source, message.line)
        try:
            futures.append(producer.send(topic.name, message.value, message.key, headers, message.partition))
        except MessageSizeTooLargeError as error:
            raise EventFileError(
                f"Line {message.line} of {os.fsdecode(source.name)} has {len(message.value):,} bytes, more than topic "
                f"{topic.name} takes in a message: remove the line, or raise the topic's max.message.bytes."
            ) from error
    producer.flush(_ACKNOWLEDGE_SECONDS)
    for message, future in zip(messages, futures, strict=True):
        if future.failed():
            raise future.exception
        positions[message.partition] = Position(future.value.offset + 1, message.line)


def _seconds_until_due(speed: float | None) -> Callable[[Record], float]:
    """Return a function that returns the seconds until a record is due; the first record is due at once."""
    start: tuple[float, float] | None = None

    def seconds_left(record: Record) -> float:
        nonlocal start
        if speed is None or record.fields is None or (event_time := _seconds(record.fields[_EVENT_TIME])) is None:
            return 0.0
        now = time.monotonic()
        start = start or (event_time, now)
        return (event_time - start[0]) / speed - (now - start[1])

    return seconds_left


def _seconds(event_time: str) -> float | None:
    try:
        instant = datetime.fromisoformat(event_time.replace(" UTC", "+00:00"))
    except ValueError:
        return None
    return (instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)).timestamp()
