"""What becomes of each micro-batch of a stream: it is stored under its number, once, however often it is run."""

from collections.abc import Callable
from functools import partial

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import commits, dropping, events, handover, seeding, spark_tables, speed_views, streams
from lambda_spark.checkpoints import batch_offsets, count_between, read_topic_id
from lambda_spark.settings import Settings
from lambda_spark.streams import Watch
from lambda_spark.tables import LIVE_ACTIVITY, MASTER_DATASET, REALTIME_VIEWS, RECENT_BRANDS

# A task writes a file for each day: more of them would be faster in a large micro-batch, and leave more small files.
_MESSAGES_PER_TASK = 150_000

# Takes the rows of a micro-batch, and its number.
OnBatch = Callable[[DataFrame, int], None]


def event_store(settings: Settings, checkpoint: str, watch: Watch | None) -> OnBatch:
    """Return what divides messages, rows as events.MESSAGE_COLUMNS, into `rejected_events` and `events`."""
    root, topic = settings.data_root, settings.kafka.topic
    topic_id = read_topic_id(checkpoint)
    divide = partial(events.divide_messages, rejected_upto=seeding.stored_rejects(root, topic))

    def store(received: DataFrame, batch_id: int) -> None:
        start, end = batch_offsets(checkpoint, batch_id - 1), batch_offsets(checkpoint, batch_id)
        writer, lineage = f"ingest/{streams.query_id(checkpoint)}", handover.reach(topic, end, topic_id)
        rows = received.coalesce(count_between(start, end) // _MESSAGES_PER_TASK + 1)
        commits.append_once(rows, divide, root, MASTER_DATASET, writer, batch_id, lineage)
        if watch:
            watch(received, batch_id, start, end)

    return store


def view_log(spark: SparkSession, settings: Settings, checkpoint: str, watch: Watch | None) -> OnBatch:
    """Return what appends packed rows, brand_state.PACKED, to the realtime views, and drops what needs not be there."""
    root, topic = settings.data_root, settings.kafka.topic
    held, topic_id = handover.held_by(root, topic), read_topic_id(checkpoint)

    def append(packed: DataFrame, batch_id: int) -> None:
        nonlocal held
        start, end = batch_offsets(checkpoint, batch_id - 1), batch_offsets(checkpoint, batch_id)
        held = {view.name: start for view in REALTIME_VIEWS} | held
        held = dropping.drop_covered(spark, root, topic, settings.brands, held)
        rows = speed_views.view_maker(batch_id, topic, end, held[LIVE_ACTIVITY.name])
        writer, lineage = f"speed/{streams.query_id(checkpoint)}", handover.speed_lineage(topic, end, held, topic_id)
        if not commits.append_once(packed, rows, root, REALTIME_VIEWS, writer, batch_id, lineage):
            # A run that died before its checkpoint stored the batch; unless the rows are read, the state lacks it.
            packed.write.format("noop").mode("append").save()
        if watch:
            lists = spark_tables.read(spark, root, RECENT_BRANDS)
            watch(lists.where(F.col("batch_id") == batch_id), batch_id, start, end)

    return append
