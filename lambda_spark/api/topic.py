"""The topic as the server sees it: how far it goes, how long messages have waited, and the newest of them."""

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

_LOOK_SECONDS, _RETRY_SECONDS = 0.5, 5.0
_REMEMBERED = 7_200

# So many of the newest messages of a partition are looked at.
_SAMPLE = 3
_HELD_SECONDS = 5.0
_POLL_MS = 300
_log = logging.getLogger(__name__)


class TopicWatch:
    """Looks at the topic twice a second; `ends` is None while the broker, or the topic, is not there.

    While `is_sampled`, `newest` are its newest messages; while `is_held` too, the same ones for some seconds.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self.name = kafka.topic
        self.ends: Offsets | None = None
        self.first: Offsets = {}
        self.newest: list[dict[str, Any]] = []
        self.is_sampled = self.is_held = False
        self._kafka = kafka
        self._sampled_at = 0.0
        self._looks: deque[tuple[float, Offsets]] = deque(maxlen=_REMEMBERED)
        self._end = Event()

    def start(self) -> None:
        """Begin to look, in a thread of its own."""
        Thread(target=self._watch, name="topic", daemon=True).start()

    def stop(self) -> None:
        """End that."""
        self._end.set()

    def message_count(self) -> int | None:
        """Return the number of messages in the topic; None where that cannot be told."""
        ends = self.ends
        return None if ends is None else sum(end - self.first.get(number, 0) for number, end in ends.items())

    def behind(self, reached: Offsets) -> int | None:
        """Return the number of messages that are not reached yet; None where that cannot be told."""
        ends = self.ends
        if ends is None:
            return None
        return sum(max(end - reached.get(number, self.first.get(number, 0)), 0) for number, end in ends.items())

    def lag_seconds(self, reached: Offsets) -> float | None:
        """Return for how long a message has been waiting that is not reached yet; 0 where there is none."""
        if self.ends is None:
            return None
        if not self.behind(reached):
            return 0.0
        waiting_since = None
        for at, ends in reversed(self._looks.copy()):
            if all(end <= reached.get(number, self.first.get(number, 0)) for number, end in ends.items()):
                break
            waiting_since = at
        return 0.0 if waiting_since is None else round(time.monotonic() - waiting_since, 3)

    def rate(self, seconds: float) -> float | None:
        """Return how many messages a second have come in so many last seconds."""
        now = time.monotonic()
        looks = [(at, sum(ends.values())) for at, ends in self._looks.copy() if now - at <= seconds]
        if self.ends is None or len(looks) < 2:
            return None
        (first_at, first), (last_at, last) = looks[0], looks[-1]
        return (last - first) / (last_at - first_at)

    def _watch(self) -> None:
        while not self._end.is_set():
            try:
                with open_consumer(self._kafka) as consumer:
                    while not self._end.is_set():
                        self._look(consumer)
                        self._end.wait(_LOOK_SECONDS)
            except BrokerError:
                pass
            except SettingsError as error:
                _log.error("%s", error)
            except Exception:
                _log.exception("The topic could not be read.")
            self.ends, self.newest = None, []
            self._end.wait(_RETRY_SECONDS)

    def _look(self, consumer: KafkaConsumer) -> None:
        numbers = consumer.partitions_for_topic(self.name)
        if not numbers:
            self.ends, self.newest = None, []
            return
        partitions = [TopicPartition(self.name, number) for number in sorted(numbers)]
        first, ends = (
            {partition.partition: offset for partition, offset in find(partitions).items()}
            for find in (consumer.beginning_offsets, consumer.end_offsets)
        )
        is_new = ends != self.ends
        self.first, self.ends = first, ends
        self._looks.append((time.monotonic(), ends))
        is_held = self.is_held and time.monotonic() - self._sampled_at < _HELD_SECONDS
        if self.is_sampled and not is_held and (is_new or not self.newest):
            self.newest, self._sampled_at = _newest(consumer, partitions, first, ends), time.monotonic()


def _newest(consumer: KafkaConsumer, partitions: list[TopicPartition], first: Offsets, ends: Offsets) -> list[Any]:
    """Read the newest messages of each partition, and parse them by the one rule. One row per message, by time."""
    consumer.assign(partitions)
    for partition in partitions:
        number = partition.partition
        consumer.seek(partition, max(first[number], ends[number] - _SAMPLE))
    found = [record for records in consumer.poll(timeout_ms=_POLL_MS).values() for record in records]
    rows = [{"value": r.value, "topic": r.topic, "partition": r.partition, "offset": r.offset} for r in found]
    schema = pa.schema(
        [("value", pa.binary()), ("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64())]
    )
    messages = parsing.message_table([pa.RecordBatch.from_pylist(rows, schema)])
    parsed = engine.query(parsing.PARSE_MESSAGES, messages=messages).to_pylist()
    by_place = {(row["source_partition"], row["source_offset"]): row for row in parsed}
    newest_first = sorted(found, key=lambda record: record.timestamp, reverse=True)
    return [{"record": record, "parsed": by_place[record.partition, record.offset]} for record in newest_first]
