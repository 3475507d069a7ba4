"""Event files -> the topic by several Spark tasks side by side: the same messages as replay.replay sends."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark.errors import BrokerError, stop_requested
from lambda_spark.events.event_files import FileRange, whole_file
from lambda_spark.kafka.client import Topic, ensure_topic
from lambda_spark.kafka.security import spark_options
from lambda_spark.replay.messages import MESSAGES, PartitionShare, read_messages
from lambda_spark.replay.replay import Replayed
from lambda_spark.replay.resume import (
    Positions,
    SourceFile,
    TopicClients,
    commit_positions,
    find_positions,
    mark_complete,
    open_clients,
    periodic_commit,
    read_to_end,
    source_files,
    source_headers,
)
from lambda_spark.settings import KafkaSettings

_PRODUCER_OPTIONS = {
    "kafka.enable.idempotence": "true",
    "kafka.compression.type": "lz4",
    "kafka.batch.size": "1000000",
    "kafka.linger.ms": "100",
    # No message is given up: a later one could still arrive, and its line would suggest that this one has, too.
    "kafka.delivery.timeout.ms": "2147483647",
}

_TAG = "bulk-replay"
_POLL_SECONDS = 1

# Called with numbers of messages: those sent, and those that were in the topic already.
Count = Callable[[int, int], None]


def bulk_replay(
    spark: SparkSession,
    kafka: KafkaSettings,
    files: Sequence[Path],
    on_progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Send the files' records that are not in the topic yet, as replay.replay does, but faster.

    Each partition is written by one task, which reads the whole file: so its records keep their order.
    `on_progress` is called with the lines done and their total.
    Raises KeyboardInterrupt if it is stopped, EventFileError and BrokerError; nothing is sent if a file is damaged.
    """
    sources = source_files(files)
    topic = ensure_topic(kafka)
    sent, already_there = (spark.sparkContext.accumulator(0) for _ in range(2))
    before, total = 0, sum(source.last_line - 1 for source in sources)

    def count(new: int, old: int) -> None:
        sent.add(new)
        already_there.add(old)

    with stop_requested() as stop, open_clients(kafka, topic) as clients:
        positions = _settled_positions(clients, sources)
        commit = periodic_commit(clients, positions)
        for file, source in zip(files, sources, strict=True):
            of_file = positions[source.file_id]
            rows = _messages(spark, whole_file(file), topic, of_file, count).withColumn("headers", _headers(source))
            with _running(spark, partial(_write, rows, kafka, topic)) as job:
                for _ in _until_done(job, stop):
                    read_to_end(clients, {source.file_id: of_file})
                    commit(source)
                    if on_progress:
                        on_progress(before + max(1, *(position.line for position in of_file.values())) - 1, total)
            mark_complete(positions, source)
            before += source.last_line - 1
        commit_positions(clients, positions)
    if on_progress:
        on_progress(total, total)
    return Replayed(sent.value, already_there.value)


def _settled_positions(clients: TopicClients, sources: Sequence[SourceFile]) -> dict[str, Positions]:
    """Return the positions once their lines no longer change: tasks of a killed run may keep sending for a moment."""
    positions = find_positions(clients, sources)
    while True:
        time.sleep(_POLL_SECONDS)
        before, positions = positions, find_positions(clients, sources)
        if _lines_of(before) == _lines_of(positions):
            return positions


def _lines_of(positions: dict[str, Positions]) -> list[int]:
    return [position.line for of_file in positions.values() for position in of_file.values()]


@contextmanager
def _running(spark: SparkSession, action: Callable[[], None]) -> Iterator["Future[None]"]:
    """Run Spark's action beside the block; cancel it if the block raises an error."""

    def run() -> None:
        spark.addTag(_TAG)
        action()

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(run)
        try:
            yield job
        except BaseException:
            while not wait([job], _POLL_SECONDS).done:
                spark.interruptTag(_TAG)
            raise


def _until_done(job: "Future[None]", stop: Event) -> Iterator[None]:
    """Yield every second while the job runs. Raises the job's error, and KeyboardInterrupt if `stop` is set."""
    while not wait([job], _POLL_SECONDS).done:
        if stop.is_set():
            raise KeyboardInterrupt("Stopped. The same command resumes here.")
        yield
    job.result()


def _messages(spark: SparkSession, part: FileRange, topic: Topic, positions: Positions, count: Count) -> DataFrame:
    """Return the messages that are not in the topic yet, in one task per share of partitions. Rows as in MESSAGES."""
    tasks = min(topic.partitions, spark.sparkContext.defaultParallelism)
    lines: list[dict[int, int]] = [{} for _ in range(tasks)]
    for number, position in positions.items():
        lines[number % tasks][number] = position.line
    shares = [PartitionShare(topic.partitions, of_task, topic.max_message_bytes) for of_task in lines]

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        if context is not None and context.attemptNumber():
            raise BrokerError("A task was lost that had sent some of its messages: the same command resumes there.")
        for task in (task for batch in batches for task in batch["id"].to_pylist()):
            for messages, skipped in read_messages(part, shares[task]):
                count(len(messages), skipped)
                yield from messages.to_batches()

    return spark.range(0, tasks, numPartitions=tasks).mapInArrow(read, MESSAGES)


def _write(rows: DataFrame, kafka: KafkaSettings, topic: Topic) -> None:
    writer = rows.drop("line").write.format("kafka").options(**spark_options(kafka), **_PRODUCER_OPTIONS)
    writer.option("topic", topic.name).option("kafka.max.request.size", topic.max_message_bytes).save()


def _headers(source: SourceFile) -> Column:
    """Return the column of headers: those of source_headers, with the line of each row."""
    values = {name: F.lit(bytearray(value)) for name, value in source_headers(source, 0)}
    values["line"] = F.col("line").cast("string").cast("binary")
    headers = (F.struct(F.lit(name).alias("key"), value.alias("value")) for name, value in values.items())
    return F.array(*headers)
