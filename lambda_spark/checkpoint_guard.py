"""Before a stream starts on a checkpoint: is it alone there, is the checkpoint whole, is the topic still the same one.

What Spark says when one of these ceases to hold while the stream runs is told in the same sentences.
"""

import fcntl
import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from lambda_spark.checkpoints import Offsets, batch_offsets, first_offsets, reached_offsets, read_topic
from lambda_spark.errors import StreamError
from lambda_spark.kafka import TopicContent, read_content
from lambda_spark.kafka_settings import KafkaSettings
from lambda_spark.storage import file_names, is_local, read_file, write_file
from lambda_spark.tables import Table

_log = logging.getLogger(__name__)

# By Spark's names of its errors; of a file that is not found it says no more than its path.
_CONCURRENT = re.compile(r"CONCURRENT_STREAM_LOG_UPDATE|CONCURRENT_QUERY|another query with same id is already active")
_DATA_LOSS = re.compile(r"KAFKA_DATA_LOSS|Some data may have been lost|LOST_TOPIC_PARTITIONS|UnknownTopicOrPartition")
_DAMAGED = re.compile(
    r"CANNOT_LOAD_STATE_STORE|STATE_STORE_|STREAMING_CHECKPOINT|STREAMING_STATEFUL|CHECKPOINT_FILE_CHECKSUM"
    r"|FileNotFoundException[^\n]*/_checkpoints/"
)


@contextmanager
def guarded(kafka: KafkaSettings, checkpoint: str, tables: Sequence[Table]) -> Iterator[int]:
    """Let a stream that writes the tables run on its checkpoint; yield the number of messages that the topic has lost.

    Raises BrokerError where there is no such topic, StreamError where the stream must not start or go on.
    """
    with _alone(checkpoint):
        _check_files(checkpoint, tables)
        content = read_content(kafka)
        _check_topic(content, checkpoint)
        lost = _check_loss(content, kafka, checkpoint)
        try:
            yield lost
        except (PySparkException, Py4JError) as error:
            if sentence := _sentence_of(str(error), kafka, checkpoint, tables):
                raise StreamError(sentence) from error
            raise


@contextmanager
def _alone(checkpoint: str) -> Iterator[None]:
    """Hold the lock beside the checkpoint. On object storage there is none: Spark itself notices another stream."""
    if not is_local(checkpoint):
        yield
        return
    path = Path(f"{checkpoint}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StreamError(_not_alone(checkpoint)) from None
        yield


def _check_files(checkpoint: str, tables: Sequence[Table]) -> None:
    """Read the files that tell where to go on, as Spark will."""
    offsets, commits = (_numbers(f"{checkpoint}/{log}") for log in ("offsets", "commits"))
    if not offsets and not commits:
        return
    # Batches are planned one ahead of those completed, and the files of both are kept for as long.
    newest = max([*offsets, *commits])
    needed = [f"offsets/{newest}", "metadata", "sources/0/0"]
    needed += [f"offsets/{max(commits)}", f"commits/{max(commits)}"] if commits else []
    if newest - 1 in offsets or (newest > 0 and newest not in commits):
        needed += [f"offsets/{newest - 1}", f"commits/{newest - 1}"]
    for name in needed:
        if not _is_whole(f"{checkpoint}/{name}"):
            raise StreamError(_damaged(f"{checkpoint}/{name}", tables))


def _numbers(folder: str) -> list[int]:
    return [int(name) for name in file_names(folder) if name.isdigit()]


def _is_whole(file: str) -> bool:
    """Say whether the file is there and its last line is a JSON object, as that of each log of a checkpoint is."""
    try:
        last_line = (read_file(file) or b"").decode().strip().splitlines()[-1]
        return isinstance(json.loads(last_line[last_line.index("{") :]), dict)
    except (ValueError, IndexError):
        return False


def _check_topic(content: TopicContent, checkpoint: str) -> None:
    """Compare the topic with the one that the checkpoint was made for, whose id is kept there at the first start."""
    topic, begun = content.topic, read_topic(checkpoint)
    if begun not in (None, topic.name):
        raise StreamError(
            f"The checkpoint {checkpoint} is of the topic {begun}, not of {topic.name}: go on with --topic {begun}, "
            f"or read {topic.name} into tables of its own with --data-root."
        )
    planned = _planned(checkpoint)
    if missing := planned.keys() - content.end.keys():
        raise StreamError(
            f"The checkpoint {checkpoint} knows partition {max(missing)} of the topic {topic.name}, which has "
            f"{topic.partitions} partitions now: {_REMADE}."
        )
    kept = read_file(f"{checkpoint}/topic-id")
    if kept is not None and kept.decode() != topic.id:
        raise StreamError(f"The topic {topic.name} is not the one the checkpoint {checkpoint} was made for: {_REMADE}.")
    for partition, offset in planned.items():
        if offset > content.end[partition]:
            raise StreamError(
                f"The topic {topic.name} ends at offset {content.end[partition]} of partition {partition}, before "
                f"offset {offset} of the checkpoint {checkpoint}: {_REMADE}."
            )
    if kept is None:
        write_file(f"{checkpoint}/topic-id", topic.id.encode())


_REMADE = (
    "it was deleted and made again, and its offsets would be taken for those that are stored, so read it into tables "
    "of its own with --data-root"
)


def _planned(checkpoint: str) -> Offsets:
    """Return where the newest micro-batch ends, whether it was completed or not."""
    return batch_offsets(checkpoint, max(_numbers(f"{checkpoint}/offsets"), default=-1))


def _check_loss(content: TopicContent, kafka: KafkaSettings, checkpoint: str) -> int:
    reached = reached_offsets(checkpoint) or first_offsets(checkpoint)
    lost = sum(max(0, content.first[partition] - offset) for partition, offset in reached.items())
    if lost and kafka.on_data_loss == "fail":
        raise StreamError(_lossy(kafka, f"{lost:,} messages"))
    if lost:
        _log.warning("The topic %s has lost %s messages before they were read; going on.", kafka.topic, f"{lost:,}")
    return lost


def _sentence_of(error: str, kafka: KafkaSettings, checkpoint: str, tables: Sequence[Table]) -> str | None:
    """Return what an error of Spark's means to a user; None where it is none of these."""
    if _CONCURRENT.search(error):
        return _not_alone(checkpoint)
    if _DATA_LOSS.search(error):
        return _lossy(kafka, "messages")
    if _DAMAGED.search(error):
        file = re.search(rf"{re.escape(checkpoint)}/[\w./-]*[\w-]", error)
        return _damaged(file.group() if file else f"{checkpoint}/state", tables)
    return None


def _not_alone(checkpoint: str) -> str:
    return f"Another stream runs on the checkpoint {checkpoint}: stop that one first, or name another --data-root."


def _lossy(kafka: KafkaSettings, lost: str) -> str:
    return (
        f"The topic {kafka.topic} has lost {lost} before they were read: replay or restore what is missing and read it "
        "into tables of its own with --data-root, or pass over it with --on-data-loss continue."
    )


def _damaged(file: str, tables: Sequence[Table]) -> str:
    names = " and ".join(table.name for table in tables)
    return (
        f"The checkpoint's file {file} is missing or damaged: put it back from a copy of its checkpoint, or, where the "
        f"topic still has all messages, remove the folders {names}, so that it is read again."
    )
