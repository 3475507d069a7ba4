"""What keeps a stream from going on, in a sentence each: found before it starts, or told by Spark while it runs."""

import re

from lambda_spark.kafka_settings import KafkaSettings

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
