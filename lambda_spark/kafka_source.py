"""The topic as a Spark source: as a stream for the layers, and as a stretch of offsets to look at."""

import json

from pyspark.sql import DataFrame, SparkSession

from lambda_spark.checkpoints import Offsets
from lambda_spark.kafka_security import spark_options
from lambda_spark.kafka_settings import KafkaSettings

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
