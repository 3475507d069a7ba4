"""The topic as a Spark source: a stream or a range of offsets, and the errors of such a stream in words."""

import json
import re

from pyspark.sql import DataFrame, SparkSession

from lambda_spark.kafka.security import spark_options
from lambda_spark.schemas import Offsets
from lambda_spark.settings import KafkaSettings

# Larger fetches than the consumer's defaults: over 700,000 instead of 280,000 messages a second on two cores.
_FETCH_OPTIONS = {
    "kafka.max.poll.records": "100000",
    "kafka.max.partition.fetch.bytes": "33554432",
    "kafka.fetch.max.bytes": "67108864",
    "kafka.receive.buffer.bytes": "4194304",
}

# While the broker is away a stream waits for an hour, in attempts of 15 seconds. Kafka's client can't interrupt an
# attempt, so a stream that is stopped waits for the end of it.
_OUTAGE_OPTIONS = {
    "kafka.default.api.timeout.ms": "15000",
    "kafka.request.timeout.ms": "15000",
    "fetchOffset.numRetries": "240",
}


def stream_messages(spark: SparkSession, kafka: KafkaSettings, max_per_trigger: int) -> DataFrame:
    """Return a stream of the topic from its first message on, with the columns of Spark's Kafka source.

    Lost messages end the query unless the settings say to skip them.
    """
    reader = spark.readStream.format("kafka").options(**_options(kafka), **_FETCH_OPTIONS, **_OUTAGE_OPTIONS)
    reader = reader.option("failOnDataLoss", kafka.on_data_loss == "fail")
    return reader.option("startingOffsets", "earliest").option("maxOffsetsPerTrigger", max_per_trigger).load()


def read_messages(spark: SparkSession, kafka: KafkaSettings, start: Offsets, end: Offsets) -> DataFrame:
    """Return the messages from `start` up to and without `end`, with the columns of Spark's Kafka source."""
    reader = spark.read.format("kafka").options(**_options(kafka))
    return (
        reader.option("startingOffsets", json.dumps({kafka.topic: start}))
        .option("endingOffsets", json.dumps({kafka.topic: end}))
        .load()
    )


def _options(kafka: KafkaSettings) -> dict[str, str]:
    return {**spark_options(kafka), "subscribe": kafka.topic, "failOnDataLoss": "true"}


# Spark's error classes; a missing file has none, so its path identifies it.
_CONCURRENT = re.compile(r"CONCURRENT_STREAM_LOG_UPDATE|CONCURRENT_QUERY|another query with same id is already active")
_DATA_LOSS = re.compile(r"KAFKA_DATA_LOSS|Some data may have been lost|LOST_TOPIC_PARTITIONS|UnknownTopicOrPartition")
_AWAY = re.compile(r"kafka\.common\.errors\.(Timeout|Disconnect)Exception|Cannot fetch record .* in \d+ milliseconds")

_DAMAGED = re.compile(
    r"CANNOT_LOAD_STATE_STORE|STATE_STORE_|STREAMING_CHECKPOINT|STREAMING_STATEFUL|CHECKPOINT_FILE_CHECKSUM"
    r"|FileNotFoundException[^\n]*/_checkpoints/|File [^\n]*/_checkpoints/[^\n]* does not exist"
)


def explain_error(error: str, kafka: KafkaSettings, checkpoint: str) -> str | None:
    """Return what an error of a stream means to a user and the remedy; None for an error of another kind."""
    if _CONCURRENT.search(error):
        return concurrent_stream(checkpoint)
    if _DATA_LOSS.search(error):
        return data_loss(kafka, "messages")
    if _AWAY.search(error):
        return (
            f"The Kafka broker at {kafka.bootstrap_servers} was away for too long: see that it runs, then start the "
            "job again, which resumes where it was."
        )
    if _DAMAGED.search(error):
        # The message has the path at which the state was created: the folder may have been moved since.
        file = re.search(r"/[\w./-]*/_checkpoints/\w+/[\w./-]*[\w-]", error)
        return damaged_checkpoint(f"The checkpoint's file {file.group() if file else f'{checkpoint}/state'}")
    return None


def concurrent_stream(checkpoint: str) -> str:
    """Return the sentence for a second stream on a checkpoint."""
    return f"Another stream runs on the checkpoint {checkpoint}: stop that one first, or name another --data-root."


def data_loss(kafka: KafkaSettings, lost: str) -> str:
    """Return the sentence for lost messages; `lost` is `messages` or begins with their number."""
    return (
        f"The topic {kafka.topic} has lost {lost} before they were read: replay or restore what is missing and read it "
        "into separate tables with --data-root, or skip it with --on-data-loss continue."
    )


def damaged_checkpoint(what: str) -> str:
    """Return the sentence for a missing or damaged part of a checkpoint."""
    return (
        f"{what} is missing or damaged: put the whole checkpoint back from a copy, or start the stream once with "
        "--rebuild-from-master, which makes a new one that resumes from the stored tables."
    )
