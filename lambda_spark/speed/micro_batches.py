"""What a micro-batch adds to the realtime views: the events it took in, and the lists of the users it touched.

What becomes of each micro-batch of a stream: it is stored under its number, once, however often it is run.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark.delta import commits, coverage
from lambda_spark.delta.coverage import count_between
from lambda_spark.delta.parquet_files import RowBuilder
from lambda_spark.delta.tables import LIVE_ACTIVITY, MASTER_DATASET, REALTIME_VIEWS, RECENT_BRANDS
from lambda_spark.events import parsing
from lambda_spark.history import combining, merging
from lambda_spark.settings import Settings
from lambda_spark.speed import checkpoint_rebuild, state, streams
from lambda_spark.speed.checkpoints import batch_offsets, read_topic_id
from lambda_spark.speed.streams import BatchListener


def view_maker(batch_id: int, topic: str, reached: Mapping[int, int], covered: Mapping[int, int]) -> RowBuilder:
    """Return what turns packed rows, brand_state.PACKED, into those of tables.REALTIME_VIEWS.

    `reached` is the next offset of each partition after the micro-batch; events below the offsets `covered` are counted
    in the batch view already.
    """
    number = pa.scalar(batch_id, pa.int64())
    told = {
        "batch_id": number,
        "source_topic": pa.scalar(topic),
        "source_offsets": pa.scalar(list(reached.items()), pa.map_(pa.int32(), pa.int64())),
    }

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table, pa.Table]]:
        for batch in batches:
            is_event = pc.less(batch["shard"], 0)
            events = combining.unpack(batch["packed"].filter(is_event).to_pylist(), covered)
            seen = merging.unpack(batch["packed"].filter(pc.invert(is_event)).to_pylist())
            yield (
                _with_constants(events, {"batch_id": number}),
                _with_constants(pa.Table.from_batches([merging.brand_lists(seen)]), told),
            )

    return make


def _with_constants(rows: pa.Table, constants: dict[str, pa.Scalar]) -> pa.Table:
    for name, value in constants.items():
        # Of maps Arrow cannot repeat one no times.
        column = pa.repeat(value, len(rows)) if len(rows) else pa.array([], value.type)
        rows = rows.append_column(name, column)
    return rows


# A task writes a file for each day: more of them would be faster in a large micro-batch, and leave more small files.
_MESSAGES_PER_TASK = 150_000

# Takes the rows of a micro-batch, and its number.
OnBatch = Callable[[DataFrame, int], None]


def event_store(settings: Settings, checkpoint: str, watch: BatchListener | None) -> OnBatch:
    """Return what divides messages, rows as events.MESSAGE_COLUMNS, into `rejected_events` and `events`."""
    root, topic = settings.data_root, settings.kafka.topic
    topic_id = read_topic_id(checkpoint)
    divide = partial(parsing.divide_messages, rejected_upto=checkpoint_rebuild.stored_rejects(root, topic))

    def store(received: DataFrame, batch_id: int) -> None:
        start, end = batch_offsets(checkpoint, batch_id - 1), batch_offsets(checkpoint, batch_id)
        writer, lineage = f"ingest/{streams.query_id(checkpoint)}", coverage.offset_metadata(topic, end, topic_id)
        rows = received.coalesce(count_between(start, end) // _MESSAGES_PER_TASK + 1)
        commits.append_once(rows, divide, root, MASTER_DATASET, writer, batch_id, lineage)
        if watch:
            watch(received, batch_id, start, end)

    return store


def view_log(spark: SparkSession, settings: Settings, checkpoint: str, watch: BatchListener | None) -> OnBatch:
    """Return what appends packed rows, brand_state.PACKED, to the realtime views, and drops what needs not be there."""
    root, topic = settings.data_root, settings.kafka.topic
    held, topic_id = coverage.current_start_offsets(root, topic), read_topic_id(checkpoint)

    def append(packed: DataFrame, batch_id: int) -> None:
        nonlocal held
        start, end = batch_offsets(checkpoint, batch_id - 1), batch_offsets(checkpoint, batch_id)
        held = {view.name: start for view in REALTIME_VIEWS} | held
        held = state.drop_covered(spark, root, topic, settings.brands, held)
        rows = view_maker(batch_id, topic, end, held[LIVE_ACTIVITY.name])
        writer, lineage = f"speed/{streams.query_id(checkpoint)}", coverage.speed_lineage(topic, end, held, topic_id)
        if not commits.append_once(packed, rows, root, REALTIME_VIEWS, writer, batch_id, lineage):
            # A run that died before its checkpoint stored the batch; unless the rows are read, the state lacks it.
            packed.write.format("noop").mode("append").save()
        if watch:
            lists = commits.read(spark, root, RECENT_BRANDS)
            watch(lists.where(F.col("batch_id") == batch_id), batch_id, start, end)

    return append
