"""Event files -> the topic, each record once: as JSON of its nine texts, or as it is where there are not nine."""

import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    Mark,
    Marks,
    Origin,
    find_marks,
    find_origins,
    finish,
    keep_marks,
    keeper,
    open_place,
    origin_headers,
)
from lambda_spark.schemas import EVENT_COLUMNS
from lambda_spark.settings import KafkaSettings

_EVENT_TIME = EVENT_COLUMNS.index("event_time")

# A stretch of records is sent, then its acknowledgement awaited: this bounds the memory.
_STRETCH_BYTES = 2_000_000
_STRETCH_PASSED = 20_000
_ACKNOWLEDGE_SECONDS = 60

# A record that is due sooner does not wait.
_SHORTEST_WAIT = 0.02


class Replayed(NamedTuple):
    """The number of records that were sent, and of those that the topic held already."""

    sent: int
    already_there: int

    def sentence(self, topic: str) -> str:
        """Say so."""
        return f"Sent {self.sent:,} records to topic {topic} ({self.already_there:,} were there already)."


class ReplayStopped(KeyboardInterrupt):
    """Raised when Ctrl-C or SIGTERM has ended a replay, which can go on from there; `replayed` says what it did."""

    def __init__(self, replayed: Replayed, topic: str) -> None:
        super().__init__(f"Stopped. The same command goes on from here. {replayed.sentence(topic)}")
        self.replayed = replayed


def replay(
    kafka: KafkaSettings,
    files: Sequence[Path],
    *,
    speed: float | None = None,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Send those of the files' records, or of the first `limit` of them, that the topic does not hold yet.

    The topic is made where it is missing. The records come `speed` times as fast as their event times say, or, without
    one, as fast as possible. `on_progress` is told the records done and their total, which is a little too high where
    a file has empty lines.
    Raises ReplayStopped, SettingsError, EventFileError and BrokerError; nothing is sent where a file is damaged.
    """
    _check_options(speed, limit)
    origins = find_origins(files)
    total = sum(origin.last_line - 1 for origin in origins)
    total = total if limit is None else min(total, limit)
    topic = ensure_topic(kafka)
    sent = already_there = 0
    pace = _pace(speed)
    with (
        _rare_garbage_collection(),
        stop_requested() as stop,
        open_producer(kafka, topic) as producer,
        open_place(kafka, topic) as place,
    ):
        marks = find_marks(place, origins)
        keep = keeper(place, marks)
        for file, origin in zip(files, origins, strict=True):
            records = islice(read_records(file), None if limit is None else limit - sent - already_there)
            for messages, passed in _stretches(records, marks[origin.file_id], pace, stop):
                _send(producer, topic, origin, messages, marks[origin.file_id])
                keep(origin)
                sent, already_there = sent + len(messages), already_there + passed
                if on_progress:
                    on_progress(sent + already_there, total)
            if limit is None and not stop.is_set():
                finish(marks, origin)
        keep_marks(place, marks)
        if stop.is_set():
            raise ReplayStopped(Replayed(sent, already_there), topic.name)
    return Replayed(sent, already_there)


@contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Look seldom through the objects, one per record on its way, that are freed without it: that saves a fifth."""
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


def _stretches(
    records: Iterable[Record], marks: Marks, pace: Callable[[Record], float], stop: Event
) -> Iterator[tuple[list[Message], int]]:
    """Yield the messages to be sent next, and how many records were passed over; wait where a record is not due yet."""
    messages: list[Message] = []
    size = passed = 0
    for record in records:
        partition = partition_of(record, len(marks))
        is_new = record.line > marks[partition].line
        is_early = is_new and pace(record) > _SHORTEST_WAIT
        if is_early or size >= _STRETCH_BYTES or passed >= _STRETCH_PASSED:
            yield messages, passed
            messages, size, passed = [], 0, 0
        if is_early:
            stop.wait(pace(record))
        if stop.is_set():
            break
        if is_new:
            message = message_of(record, partition)
            messages.append(message)
            size += len(message.value)
        else:
            passed += 1
    yield messages, passed


def _send(producer: KafkaProducer, topic: Topic, origin: Origin, messages: list[Message], marks: Marks) -> None:
    """Send the messages, wait until each is acknowledged, and move the marks of their partitions."""
    futures = []
    for message in messages:
        headers = origin_headers(origin, message.line)
        try:
            futures.append(producer.send(topic.name, message.value, message.key, headers, message.partition))
        except MessageSizeTooLargeError as error:
            raise EventFileError(
                f"Line {message.line} of {os.fsdecode(origin.file)} has {len(message.value):,} bytes, more than topic "
                f"{topic.name} takes in a message: remove the line, or raise the topic's max.message.bytes."
            ) from error
    producer.flush(_ACKNOWLEDGE_SECONDS)
    for message, future in zip(messages, futures, strict=True):
        if future.failed():
            raise future.exception
        marks[message.partition] = Mark(future.value.offset + 1, message.line)


def _pace(speed: float | None) -> Callable[[Record], float]:
    """Return the function that says in how many seconds a record is due; the first one it is asked about is due now."""
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
