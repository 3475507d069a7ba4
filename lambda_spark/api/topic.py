"""The topic: its offsets, how many messages wait for a layer and since when, and its newest messages."""

import logging
import time
from collections import deque
from threading import Event, Thread
from typing import Any

import pyarrow as pa
from kafka import KafkaConsumer, TopicPartition

from lambda_spark import engine
from lambda_spark.errors import BrokerError, SettingsError
from lambda_spark.events import parsing
from lambda_spark.kafka.client import open_consumer
from lambda_spark.schemas import Offsets
from lambda_spark.settings import KafkaSettings

_POLL_SECONDS, _RETRY_SECONDS = 0.5, 5.0
_REMEMBERED_POLLS = 7_200

# Read of each partition for a sample.
_MESSAGES_PER_PARTITION = 3
_SAMPLE_SECONDS = 5.0
_READ_TIMEOUT_MS = 300
_MESSAGES = pa.schema(
    [("value", pa.binary()), ("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64())]
)
_log = logging.getLogger(__name__)


class TopicMonitor:
    """Polls the topic twice a second; `end_offsets` is None if the broker or the topic is not available.

    With `is_sampling`, `newest` has its newest messages; with `keep_sample` too, the same messages for some seconds.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.name = kafka.topic
        self.end_offsets: Offsets | None = None
        self.start_offsets: Offsets = {}
        self.newest: list[dict[str, Any]] = []
        self.is_sampling = self.keep_sample = False
        self._kafka = kafka
        self._sampled_at = 0.0
        self._polls: deque[tuple[float, Offsets]] = deque(maxlen=_REMEMBERED_POLLS)
        self._stopped = Event()

    def start(self) -> None:
        """Start polling in a background thread."""
        Thread(target=self._run, name="topic", daemon=True).start()

    def stop(self) -> None:
        """Stop polling."""
        self._stopped.set()

    def message_count(self) -> int | None:
        """Return the number of messages in the topic; None if the broker is not available."""
        ends, starts = self.end_offsets, self.start_offsets
        return None if ends is None else sum(end - starts.get(number, 0) for number, end in ends.items())

    def waiting_count(self, reached: Offsets) -> int | None:
        """Return the number of messages from the reached offsets on; None if the broker is not available."""
        ends = self.end_offsets
        if ends is None:
            return None
        return sum(max(end - self._position(reached, number), 0) for number, end in ends.items())

    def lag_seconds(self, reached: Offsets) -> float | None:
        """Return how long the oldest message from the reached offsets on has been waiting; 0 if none is waiting.

        None if the broker is not available.
        """
        if self.end_offsets is None:
            return None
        if not self.waiting_count(reached):
            return 0.0
        waiting_since = None
        for at, ends in reversed(self._polls.copy()):
            if all(end <= self._position(reached, number) for number, end in ends.items()):
                break
            waiting_since = at
        return 0.0 if waiting_since is None else round(time.monotonic() - waiting_since, 3)

    def rate(self, seconds: float) -> float | None:
        """Return the messages per second that came in during the last seconds; None if that is not known yet."""
        now = time.monotonic()
        polls = [(at, sum(ends.values())) for at, ends in self._polls.copy() if now - at <= seconds]
        if self.end_offsets is None or len(polls) < 2:
            return None
        (first_at, first), (last_at, last) = polls[0], polls[-1]
        return (last - first) / (last_at - first_at)

    def _position(self, reached: Offsets, number: int) -> int:
        """Return the offset that was reached in a partition: its start if nothing was read of it."""
        return reached.get(number, self.start_offsets.get(number, 0))

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with open_consumer(self._kafka) as consumer:
                    while not self._stopped.is_set():
                        self._poll(consumer)
                        self._stopped.wait(_POLL_SECONDS)
            except BrokerError:
                pass
            except SettingsError as error:
                _log.error("%s", error)
            except Exception:
                _log.exception("The topic could not be read.")
            self.end_offsets, self.newest = None, []
            self._stopped.wait(_RETRY_SECONDS)

    def _poll(self, consumer: KafkaConsumer) -> None:
        numbers = consumer.partitions_for_topic(self.name)
        if not numbers:
            self.end_offsets, self.newest = None, []
            return
        partitions = [TopicPartition(self.name, number) for number in sorted(numbers)]
        starts, ends = (
            {partition.partition: offset for partition, offset in find(partitions).items()}
            for find in (consumer.beginning_offsets, consumer.end_offsets)
        )
        has_new = ends != self.end_offsets
        self.start_offsets, self.end_offsets = starts, ends
        self._polls.append((time.monotonic(), ends))
        is_kept = self.keep_sample and time.monotonic() - self._sampled_at < _SAMPLE_SECONDS
        if self.is_sampling and not is_kept and (has_new or not self.newest):
            self.newest, self._sampled_at = _read_newest(consumer, starts, ends, partitions), time.monotonic()


def _read_newest(
    consumer: KafkaConsumer, starts: Offsets, ends: Offsets, partitions: list[TopicPartition]
) -> list[dict[str, Any]]:
    """Return the newest messages of each partition as `record` and `parsed`, by the one parse rule; newest first."""
    consumer.assign(partitions)
    for partition in partitions:
        number = partition.partition
        consumer.seek(partition, max(starts[number], ends[number] - _MESSAGES_PER_PARTITION))
    records = [record for found in consumer.poll(timeout_ms=_READ_TIMEOUT_MS).values() for record in found]
    rows = [{name: getattr(record, name) for name in _MESSAGES.names} for record in records]
    messages = parsing.message_table([pa.RecordBatch.from_pylist(rows, _MESSAGES)])
    parsed = engine.query(parsing.PARSE_MESSAGES, messages=messages).to_pylist()
    parsed_by_source = {(row["source_partition"], row["source_offset"]): row for row in parsed}
    newest_first = sorted(records, key=lambda record: record.timestamp, reverse=True)
    return [{"record": each, "parsed": parsed_by_source[each.partition, each.offset]} for each in newest_first]
