"""Before a stream starts on a checkpoint: is it alone there, is the checkpoint whole, is the topic still the same one.

If the checkpoint is lost, a new one starts at the offsets that the tables hold: these aren't read from the topic again,
which may have lost them (docs/adr/0022-lost-checkpoints.md).
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow.compute as pc
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException

from lambda_spark.delta import event_log, tables
from lambda_spark.delta.coverage import (
    count_between,
    covered_offsets,
    is_covered_by,
    max_offsets,
    offsets_of,
    topic_id_of,
    topic_of,
)
from lambda_spark.delta.storage import exclusive_lock, file_names, is_file, read_file
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, REJECTED_EVENTS, Table
from lambda_spark.errors import StreamError
from lambda_spark.kafka.client import TopicContent, read_content
from lambda_spark.kafka.source import concurrent_stream, damaged_checkpoint, data_loss, explain_error
from lambda_spark.schemas import Offsets
from lambda_spark.settings import BrandSettings, KafkaSettings
from lambda_spark.speed.checkpoints import (
    batch_offsets,
    create_checkpoint,
    first_offsets,
    reached_offsets,
    read_topic,
    read_topic_id,
    record_loss,
    write_topic_id,
)


class CheckpointStart(NamedTuple):
    """What a new checkpoint begins with: the next offset of each partition, and the messages counted as received."""

    offsets: Offsets
    received: int


def ingest_start(root: str, topic: str) -> CheckpointStart:
    """Return the offsets below which `events` holds the topic.

    Raises StreamError if there are events of the topic and the log does not say how far it was read.
    """
    start = offsets_of(tables.lineage_of(root, EVENTS), topic)
    stored, from_files = event_log.event_counts(root)
    if stored > from_files and not start:
        raise StreamError(
            f"The log of {tables.path_of(root, EVENTS)} does not say how far it holds the topic {topic}, so that what "
            "comes next cannot be told: read the topic into tables of its own with --data-root."
        )
    return CheckpointStart(start, stored - from_files + _count_rejected(root, topic, start))


def speed_start(root: str, topic: str, brands: BrandSettings) -> CheckpointStart:
    """Return the offsets below which `user_brands`, or `recent_brands` after it, holds all messages.

    The state needn't hold what `user_brands` covers, and the log of `recent_brands` has what the lost state held of
    later messages. `user_brands` must be current with the master dataset.
    """
    covered = covered_offsets(root, topic, brands)
    start = max_offsets(covered, offsets_of(tables.lineage_of(root, RECENT_BRANDS), topic))
    stored = ingest_start(root, topic)
    return CheckpointStart(start, stored.received + count_between(stored.offsets, start))


def stored_rejects(root: str, topic: str) -> Offsets:
    """Return the offsets below which all rejects are stored, which may be past those of `events`.

    Each table has its own commit, and a stream may die between them.
    """
    return offsets_of(tables.lineage_of(root, REJECTED_EVENTS), topic)


def _count_rejected(root: str, topic: str, upto: Offsets) -> int:
    if not tables.exists(root, REJECTED_EVENTS):
        return 0
    rows = tables.open_dataset(root, REJECTED_EVENTS)
    partition, offset = pc.field("source_partition"), pc.field("source_offset")
    is_of_topic = pc.field("source_topic") == topic
    return sum(rows.count_rows(is_of_topic & (partition == number) & (offset < end)) for number, end in upto.items())


_log = logging.getLogger(__name__)


@contextmanager
def guarded_checkpoint(
    kafka: KafkaSettings,
    root: str,
    checkpoint: str,
    log: Table,
    make_start: Callable[[], CheckpointStart] | None = None,
) -> Iterator[None]:
    """Let a stream run on its checkpoint, or, with `make_start`, on a new one.

    `log` is the table whose commits say how far the stream has read. Raises BrokerError if there is no such topic,
    StreamError if the stream must not start or must end.
    """
    with exclusive_lock(checkpoint, StreamError(concurrent_stream(checkpoint))):
        if make_start is None:
            _check_files(root, checkpoint, log)
        content = read_content(kafka)
        if make_start is not None:
            _create_checkpoint(content, kafka, root, checkpoint, log, make_start)
        _check_topic(content, checkpoint, read_topic(checkpoint), read_topic_id(checkpoint))
        _check_offsets(content, checkpoint, _planned(checkpoint))
        write_topic_id(checkpoint, content.topic.id)
        reached = reached_offsets(checkpoint) or first_offsets(checkpoint)
        if lost := _count_lost(content, kafka, reached):
            _log.warning("The topic %s has lost %s messages before they were read; going on.", kafka.topic, f"{lost:,}")
            record_loss(checkpoint, reached, content.first)
        try:
            yield
        except (PySparkException, Py4JError) as error:
            if sentence := explain_error(str(error), kafka, checkpoint):
                raise StreamError(sentence) from error
            raise


def _check_files(root: str, checkpoint: str, log: Table) -> None:
    """Read the files by which Spark resumes, as it will, and compare them with the table."""
    offsets, commits = _numbers(f"{checkpoint}/offsets"), _numbers(f"{checkpoint}/commits")
    # Batches are planned one ahead of those completed, and the files of both are kept for as long.
    newest = max([*offsets, *commits], default=-1)
    needed = [name for name in ("metadata", "sources/0/0") if newest >= 0 or is_file(f"{checkpoint}/{name}")]
    needed += [f"offsets/{newest}"] if newest >= 0 else []
    needed += [f"offsets/{max(commits)}", f"commits/{max(commits)}"] if commits else []
    if newest - 1 in offsets or (newest > 0 and newest not in commits):
        needed += [f"offsets/{newest - 1}", f"commits/{newest - 1}"]
    for name in needed:
        if not _is_whole(f"{checkpoint}/{name}"):
            raise StreamError(damaged_checkpoint(f"The checkpoint's file {checkpoint}/{name}"))
    lineage = tables.lineage_of(root, log)
    if not is_covered_by(offsets_of(lineage, topic_of(lineage) or ""), _planned(checkpoint)):
        raise StreamError(
            damaged_checkpoint(f"Of the checkpoint {checkpoint}, what belongs to the newest rows of {log.name}")
        )


def _create_checkpoint(
    content: TopicContent,
    kafka: KafkaSettings,
    root: str,
    checkpoint: str,
    log: Table,
    make_start: Callable[[], CheckpointStart],
) -> None:
    """Create a checkpoint once it is certain that the topic has all messages after those that are stored."""
    lineage = tables.lineage_of(root, log)
    _check_topic(content, checkpoint, topic_of(lineage), topic_id_of(lineage))
    begin = make_start()
    # Spark asks for all partitions.
    start = content.first | begin.offsets
    _check_offsets(content, checkpoint, start)
    _count_lost(content, kafka, start)
    create_checkpoint(checkpoint, kafka.topic, start, begin.received)


def _numbers(folder: str) -> list[int]:
    return [int(name) for name in file_names(folder) if name.isdigit()]


def _is_whole(file: str) -> bool:
    """Return True if the file exists and its last line is a JSON object, as in each log of a checkpoint."""
    try:
        last_line = (read_file(file) or b"").decode().strip().splitlines()[-1]
        return isinstance(json.loads(last_line[last_line.index("{") :]), dict)
    except (ValueError, IndexError):
        return False


def _check_topic(content: TopicContent, checkpoint: str, begun: str | None, begun_id: str | None) -> None:
    """Compare the topic with the one the stream began on, by name and id; None if that was not kept."""
    topic = content.topic
    if begun not in (None, topic.name):
        raise StreamError(
            f"The checkpoint {checkpoint} is of the topic {begun}, not of {topic.name}: go on with --topic {begun}, "
            f"or read {topic.name} into tables of its own with --data-root."
        )
    if begun_id not in (None, topic.id):
        raise StreamError(f"The topic {topic.name} is not the one the checkpoint {checkpoint} was made for: {_REMADE}.")


def _check_offsets(content: TopicContent, checkpoint: str, offsets: Offsets) -> None:
    """Check that the topic reaches as far as it was read."""
    topic = content.topic
    if missing := offsets.keys() - content.end.keys():
        raise StreamError(
            f"The checkpoint {checkpoint} knows partition {max(missing)} of the topic {topic.name}, which has "
            f"{topic.partitions} partitions now: {_REMADE}."
        )
    for partition, offset in offsets.items():
        if offset > content.end[partition]:
            raise StreamError(
                f"The topic {topic.name} ends at offset {content.end[partition]} of partition {partition}, before "
                f"offset {offset} of the checkpoint {checkpoint}: {_REMADE}."
            )


_REMADE = (
    "it was deleted and made again, and its offsets would be taken for those that are stored, so read it into tables "
    "of its own with --data-root"
)


def _planned(checkpoint: str) -> Offsets:
    """Return the end offsets of the newest micro-batch, completed or not."""
    return batch_offsets(checkpoint, max(_numbers(f"{checkpoint}/offsets"), default=-1))


def _count_lost(content: TopicContent, kafka: KafkaSettings, reached: Offsets) -> int:
    """Count the messages after the offsets that the topic has lost. Raises StreamError unless they may be skipped."""
    lost = sum(max(0, content.first[partition] - offset) for partition, offset in reached.items())
    if lost and kafka.on_data_loss == "fail":
        raise StreamError(data_loss(kafka, f"{lost:,} messages"))
    return lost
