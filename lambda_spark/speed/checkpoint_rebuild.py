"""Where a stream goes on without its checkpoint, by what the tables say of the topic.

What they hold already is not asked of the topic again, which may have lost it (docs/adr/0022-lost-checkpoints.md).
"""

from typing import NamedTuple

import pyarrow.compute as pc
from pyspark.sql import SparkSession

from lambda_spark.batch import product_activity, user_brands
from lambda_spark.delta import event_log, tables
from lambda_spark.delta.coverage import count_between, covered_offsets, max_offsets, offsets_of
from lambda_spark.delta.event_log import event_days
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, REJECTED_EVENTS
from lambda_spark.errors import StreamError
from lambda_spark.schemas import Offsets
from lambda_spark.settings import Settings


class CheckpointStart(NamedTuple):
    """What a new checkpoint begins with: the next offset of each partition, and how many messages count as received."""

    start: Offsets
    received: int


def ingest_start(root: str, topic: str) -> CheckpointStart:
    """Go on from where `events` holds the topic.

    Raises StreamError where there are events of the topic, and the log does not say how far it was read.
    """
    start = offsets_of(tables.lineage_of(root, EVENTS), topic)
    stored, from_files = event_log.event_counts(root)
    if stored > from_files and not start:
        raise StreamError(
            f"The log of {tables.path_of(root, EVENTS)} does not say how far it holds the topic {topic}, so that what "
            "comes next cannot be told: read the topic into tables of its own with --data-root."
        )
    return CheckpointStart(start, stored - from_files + _count_rejected(root, topic, start))


def speed_start(spark: SparkSession, settings: Settings) -> CheckpointStart:
    """Bring the batch views up to date with the master dataset; go on where these, or the realtime views, hold it all.

    What the batch views cover, no state has to hold; and what a lost state held of later messages, the log of
    `recent_brands` tells. Raises NotComputedError where there are no events.
    """
    root, topic = settings.data_root, settings.kafka.topic
    event_days(root)
    product_activity.update_product_activity(spark, root)
    user_brands.update_user_brands(spark, root, settings.brands)
    brands, counts = covered_offsets(root, topic, settings.brands).values()
    covered = {number: min(end, counts.get(number, 0)) for number, end in brands.items()}
    start = max_offsets(covered, offsets_of(tables.lineage_of(root, RECENT_BRANDS), topic))
    stored = ingest_start(root, topic)
    return CheckpointStart(start, stored.received + count_between(stored.start, start))


def stored_rejects(root: str, topic: str) -> Offsets:
    """Return the offsets below which all rejects are stored, which may be further than `events` is.

    Both tables have a commit each, and a stream may die between them.
    """
    return offsets_of(tables.lineage_of(root, REJECTED_EVENTS), topic)


def _count_rejected(root: str, topic: str, upto: Offsets) -> int:
    if not tables.exists(root, REJECTED_EVENTS):
        return 0
    rows = tables.open_dataset(root, REJECTED_EVENTS)
    partition, offset = pc.field("source_partition"), pc.field("source_offset")
    is_of_topic = pc.field("source_topic") == topic
    return sum(rows.count_rows(is_of_topic & (partition == number) & (offset < end)) for number, end in upto.items())
