"""Event files -> the topic by several Spark tasks side by side: the messages that lambda_spark.replay sends."""

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
from lambda_spark.replay.messages import MESSAGES, Share, read_messages
from lambda_spark.replay.replay import Replayed
from lambda_spark.replay.resume import (
    Marks,
    Origin,
    Place,
    find_marks,
    find_origins,
    finish,
    keep_marks,
    keeper,
    look_again,
    open_place,
    origin_headers,
)
from lambda_spark.settings import KafkaSettings

_PRODUCER_OPTIONS = {
    "kafka.enable.idempotence": "true",
    "kafka.compression.type": "lz4",
    "kafka.batch.size": "1000000",
    "kafka.linger.ms": "100",
    # It gives no message up: a later one could still arrive, and would seem to say that this one had, too.
    "kafka.delivery.timeout.ms": "2147483647",
}

_TAG = "bulk-replay"
_LOOK_SECONDS = 1

# Told of messages: how many are sent, how many the topic held already.
Count = Callable[[int, int], None]


def bulk_replay(
    spark: SparkSession,
    kafka: KafkaSettings,
    files: Sequence[Path],
    on_progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """Send those of the files' records that the topic does not hold yet, as lambda_spark.replay does, but faster.

    Each partition is written by one task, which reads the whole file for it: so its records keep their order.
    `on_progress` is told the lines done and their total.
    Raises KeyboardInterrupt when it was stopped, EventFileError and BrokerError; of a damaged file nothing is sent.
    """
    origins = find_origins(files)
    topic = ensure_topic(kafka)
    sent, already_there = (spark.sparkContext.accumulator(0) for _ in range(2))
    before, total = 0, sum(origin.last_line - 1 for origin in origins)

    def count(new: int, old: int) -> None:
        sent.add(new)
        already_there.add(old)

    with stop_requested() as stop, open_place(kafka, topic) as place:
        marks = _settled_marks(place, origins)
        keep = keeper(place, marks)
        for file, origin in zip(files, origins, strict=True):
            mine = marks[origin.file_id]
            rows = _messages(spark, whole_file(file), topic, mine, count).withColumn("headers", _headers(origin))
            with _running(spark, partial(_write, rows, kafka, topic)) as job:
                for _ in _until_done(job, stop):
                    look_again(place, {origin.file_id: mine})
                    keep(origin)
                    if on_progress:
                        on_progress(before + max(1, *(mark.line for mark in mine.values())) - 1, total)
            finish(marks, origin)
            before += origin.last_line - 1
        keep_marks(place, marks)
    if on_progress:
        on_progress(total, total)
    return Replayed(sent.value, already_there.value)


def _settled_marks(place: Place, origins: Sequence[Origin]) -> dict[str, Marks]:
    """Return the marks once their lines stand still: a run that was killed may go on sending for a moment."""
    marks = find_marks(place, origins)
    while True:
        time.sleep(_LOOK_SECONDS)
        before, marks = marks, find_marks(place, origins)
        if _lines_of(before) == _lines_of(marks):
            return marks


def _lines_of(marks: dict[str, Marks]) -> list[int]:
    return [mark.line for by_partition in marks.values() for mark in by_partition.values()]


@contextmanager
def _running(spark: SparkSession, action: Callable[[], None]) -> Iterator["Future[None]"]:
    """Run Spark's action beside the block; where the block ends with an error, so does the action."""

    def run() -> None:
        spark.addTag(_TAG)
        action()

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(run)
        try:
            yield job
        except BaseException:
            while not wait([job], _LOOK_SECONDS).done:
                spark.interruptTag(_TAG)
            raise


def _until_done(job: "Future[None]", stop: Event) -> Iterator[None]:
    """Yield now and then while the job runs. Raises what the job does, and KeyboardInterrupt when it is to stop."""
    while not wait([job], _LOOK_SECONDS).done:
        if stop.is_set():
            raise KeyboardInterrupt("Stopped. The same command goes on from here.")
        yield
    job.result()


def _messages(spark: SparkSession, part: FileRange, topic: Topic, marks: Marks, count: Count) -> DataFrame:
    """Return what the topic does not hold yet, a task per share of its partitions. Rows as in MESSAGES."""
    tasks = min(topic.partitions, spark.sparkContext.defaultParallelism)
    lines = [{number: mark.line for number, mark in marks.items() if number % tasks == task} for task in range(tasks)]
    shares = [Share(topic.partitions, by_partition, topic.max_message_bytes) for by_partition in lines]

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        if context is not None and context.attemptNumber():
            raise BrokerError(
                "A task was lost that had sent some of its messages: the same command goes on from there."
            )
        for task in (task for batch in batches for task in batch["id"].to_pylist()):
            for messages, passed in read_messages(part, shares[task]):
                count(len(messages), passed)
                yield from messages.to_batches()

    return spark.range(0, tasks, numPartitions=tasks).mapInArrow(read, MESSAGES)


def _write(rows: DataFrame, kafka: KafkaSettings, topic: Topic) -> None:
    writer = rows.drop("line").write.format("kafka").options(**spark_options(kafka), **_PRODUCER_OPTIONS)
    writer.option("topic", topic.name).option("kafka.max.request.size", topic.max_message_bytes).save()


def _headers(origin: Origin) -> Column:
    """Return the column of headers: what origin_headers makes, with the line of each row."""
    values = {name: F.lit(bytearray(value)) for name, value in origin_headers(origin, 0)}
    values["line"] = F.col("line").cast("string").cast("binary")
    headers = (F.struct(F.lit(name).alias("key"), value.alias("value")) for name, value in values.items())
    return F.array(*headers)
