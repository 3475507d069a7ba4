"""The topic as a Spark source: as a stream for the layers, and as a stretch of offsets to look at.

What keeps a stream from going on, in a sentence each: found before it starts, or told by Spark while it runs.
"""

import json
import re

from pyspark.sql import DataFrame, SparkSession

from lambda_spark.kafka.security import spark_options
from lambda_spark.schemas import Offsets
from lambda_spark.settings import KafkaSettings

# Larger fetches than the consumer's defaults: from 280,000 to over 700,000 messages a second on two cores.
_FETCH_OPTIONS = {
    "kafka.max.poll.records": "100000",
    "kafka.max.partition.fetch.bytes": "33554432",
    "kafka.fetch.max.bytes": "67108864",
    "kafka.receive.buffer.bytes": "4194304",
}

# While the broker is away a stream waits for an hour, in steps: Kafka's client ends none before its time, so a stream
# that is stopped waits for the end of its step.
_PATIENCE = {
    "kafka.default.api.timeout.ms": "15000",
    "kafka.request.timeout.ms": "15000",
    "fetchOffset.numRetries": "240",
}


def stream_messages(spark: SparkSession, kafka: KafkaSettings, max_per_trigger: int) -> DataFrame:
    """Stream the topic from its first message on; a missing stretch ends the query, unless it is to be passed over.

    Columns of Spark's Kafka source.
    """
    reader = spark.readStream.format("kafka").options(**_options(kafka), **_FETCH_OPTIONS, **_PATIENCE)
    reader = reader.option("failOnDataLoss", kafka.on_data_loss == "fail")
    return reader.option("startingOffsets", "earliest").option("maxOffsetsPerTrigger", max_per_trigger).load()


def read_messages(spark: SparkSession, kafka: KafkaSettings, start: Offsets, end: Offsets) -> DataFrame:
    """Read the messages from `start` up to but not with `end`."""
    reader = spark.read.format("kafka").options(**_options(kafka))
    return (
        reader.option("startingOffsets", json.dumps({kafka.topic: start}))
        .option("endingOffsets", json.dumps({kafka.topic: end}))
        .load()
    )


def _options(kafka: KafkaSettings) -> dict[str, str]:
    return {
        **spark_options(kafka),
        "subscribe": kafka.topic,
        "failOnDataLoss": "true",
    }


# By Spark's names of its errors; of a file that is not found it says no more than its path.
_CONCURRENT = re.compile(r"CONCURRENT_STREAM_LOG_UPDATE|CONCURRENT_QUERY|another query with same id is already active")
_DATA_LOSS = re.compile(r"KAFKA_DATA_LOSS|Some data may have been lost|LOST_TOPIC_PARTITIONS|UnknownTopicOrPartition")
_AWAY = re.compile(r"kafka\.common\.errors\.(Timeout|Disconnect)Exception|Cannot fetch record .* in \d+ milliseconds")

_DAMAGED = re.compile(
    r"CANNOT_LOAD_STATE_STORE|STATE_STORE_|STREAMING_CHECKPOINT|STREAMING_STATEFUL|CHECKPOINT_FILE_CHECKSUM"
    r"|FileNotFoundException[^\n]*/_checkpoints/|File [^\n]*/_checkpoints/[^\n]* does not exist"
)


def sentence_of(error: str, kafka: KafkaSettings, checkpoint: str) -> str | None:
    """Return what an error of Spark's means to a user; None where it is none of these."""
    if _CONCURRENT.search(error):
        return not_alone(checkpoint)
    if _DATA_LOSS.search(error):
        return lossy(kafka, "messages")
    if _AWAY.search(error):
        return (
            f"The Kafka broker at {kafka.bootstrap_servers} was away for too long: see that it runs, then start the "
            "job again, which goes on where it was."
        )
    if _DAMAGED.search(error):
        # It names where the state was when it was made: the folder may have been moved since.
        file = re.search(r"/[\w./-]*/_checkpoints/\w+/[\w./-]*[\w-]", error)
        return damaged(f"The checkpoint's file {file.group() if file else f'{checkpoint}/state'}")
    return None


def not_alone(checkpoint: str) -> str:
    """Say that another stream runs on the checkpoint."""
    return f"Another stream runs on the checkpoint {checkpoint}: stop that one first, or name another --data-root."


def lossy(kafka: KafkaSettings, lost: str) -> str:
    """Say that the topic has lost messages, so and so many where that is known."""
    return (
        f"The topic {kafka.topic} has lost {lost} before they were read: replay or restore what is missing and read it "
        "into tables of its own with --data-root, or pass over it with --on-data-loss continue."
    )


def damaged(what: str) -> str:
    """Say that a part of a checkpoint is missing or damaged."""
    return (
        f"{what} is missing or damaged: put the whole checkpoint back from a copy, or start the stream once with "
        "--rebuild-from-master, which makes a new one that goes on from what is stored."
    )
