"""Where a stream starts without its checkpoint: at the offsets that the tables hold.

What they hold already isn't read from the topic again, which may have lost it (docs/adr/0022-lost-checkpoints.md).
"""

from typing import NamedTuple

import pyarrow.compute as pc

from lambda_spark.delta import event_log, tables
from lambda_spark.delta.coverage import count_between, covered_offsets, max_offsets, offsets_of
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, REJECTED_EVENTS
from lambda_spark.errors import StreamError
from lambda_spark.schemas import Offsets
from lambda_spark.settings import BrandSettings


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
