"""What happens to each micro-batch of both streams: it is stored under its number, once, however often it is run."""

import json
from collections.abc import Callable, Iterator
from functools import partial

import deltalake
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark.delta import commits, coverage, tables
from lambda_spark.delta.coverage import count_between, covered_offsets, is_covered_by, max_offsets
from lambda_spark.delta.parquet_files import RowBuilder
from lambda_spark.delta.tables import MASTER_DATASET, RECENT_BRANDS
from lambda_spark.events import parsing
from lambda_spark.history import merging
from lambda_spark.schemas import Offsets
from lambda_spark.settings import BrandSettings, Settings
from lambda_spark.speed import checkpoint_guard, streams
from lambda_spark.speed.checkpoints import batch_offsets, read_topic_id
from lambda_spark.speed.state import COVERED
from lambda_spark.speed.streams import BatchListener

# A task writes a file for each day: more tasks would be faster in a large micro-batch, and leave more small files.
_MESSAGES_PER_TASK = 150_000

# Takes the rows of a micro-batch, and its number.
OnBatch = Callable[[DataFrame, int], None]


def event_writer(settings: Settings, checkpoint: str, on_batch: BatchListener | None) -> OnBatch:
    """Return what stores messages, rows with events.MESSAGE_COLUMNS, in `rejected_events` and `events`."""
    root, topic = settings.data_root, settings.kafka.topic
    topic_id = read_topic_id(checkpoint)
    divide = partial(parsing.divide_messages, rejected_upto=checkpoint_guard.stored_rejects(root, topic))

    def store(received: DataFrame, batch_id: int) -> None:
        start, end = batch_offsets(checkpoint, batch_id - 1), batch_offsets(checkpoint, batch_id)
        writer, metadata = f"ingest/{streams.query_id(checkpoint)}", coverage.offset_metadata(topic, end, topic_id)
        rows = received.coalesce(count_between(start, end) // _MESSAGES_PER_TASK + 1)
        commits.append_once(rows, divide, root, MASTER_DATASET, writer, batch_id, metadata)
        if on_batch:
            on_batch(received, batch_id, start, end)

    return store


def view_writer(spark: SparkSession, settings: Settings, checkpoint: str, on_batch: BatchListener | None) -> OnBatch:
    """Return what appends packed rows, merging.PACKED, to `recent_brands`, and drops what `user_brands` covers."""
    root, topic = settings.data_root, settings.kafka.topic
    first = coverage.start_offsets(tables.lineage_of(root, RECENT_BRANDS), topic)
    topic_id = read_topic_id(checkpoint)

    def append(packed: DataFrame, batch_id: int) -> None:
        nonlocal first
        start, end = batch_offsets(checkpoint, batch_id - 1), batch_offsets(checkpoint, batch_id)
        first = drop_covered(spark, root, topic, settings.brands, start if first is None else first)
        writer, metadata = f"speed/{streams.query_id(checkpoint)}", coverage.speed_metadata(topic, end, first, topic_id)
        build = view_rows(batch_id, topic, end)
        if not commits.append_once(packed, build, root, [RECENT_BRANDS], writer, batch_id, metadata):
            # A run that died before its checkpoint stored the batch; unless the rows are read, the state lacks it.
            packed.write.format("noop").mode("append").save()
        if on_batch:
            lists = commits.read(spark, root, RECENT_BRANDS)
            on_batch(lists.where(F.col("batch_id") == batch_id), batch_id, start, end)

    return append


def view_rows(batch_id: int, topic: str, reached: Offsets) -> RowBuilder:
    """Return what turns packed rows, merging.PACKED, into rows of `recent_brands`, schemas.RECENT_BRANDS.

    `reached` is the next offset of each partition after the micro-batch.
    """
    constants = {
        "batch_id": pa.scalar(batch_id, pa.int64()),
        "source_topic": pa.scalar(topic),
        "source_offsets": pa.scalar(list(reached.items()), pa.map_(pa.int32(), pa.int64())),
    }

    def build(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table]]:
        for batch in batches:
            rows = pa.Table.from_batches([merging.brand_lists(merging.unpack(batch["packed"].to_pylist()))])
            for name, value in constants.items():
                # Arrow can't repeat a map zero times.
                column = pa.repeat(value, len(rows)) if len(rows) else pa.array([], value.type)
                rows = rows.append_column(name, column)
            yield (rows,)

    return build


def drop_covered(spark: SparkSession, root: str, topic: str, brands: BrandSettings, first: Offsets) -> Offsets:
    """Drop what `user_brands` covers from `first` on, if anything; return the first offsets still held.

    Called inside `foreachBatch`, before its rows are read: the log loses the covered micro-batches at once, the state
    as its shards are touched.
    """
    covered = covered_offsets(root, topic, brands)
    if is_covered_by(covered, first):
        return first
    _drop_from_log(root, topic, covered)
    # The tasks of the micro-batches inherit the property from this thread, which is the query's.
    spark.sparkContext.setLocalProperty(COVERED, json.dumps(covered))
    return max_offsets(first, covered)


def _drop_from_log(root: str, topic: str, covered: Offsets) -> None:
    """Delete the micro-batches of the topic whose messages are all covered."""
    rows = tables.read_arrow(root, RECENT_BRANDS, ["batch_id", "source_topic", "source_offsets"])
    is_done: dict[int, bool] = {}
    for row in rows.to_pylist():
        is_covered = row["source_topic"] == topic and is_covered_by(dict(row["source_offsets"]), covered)
        is_done[row["batch_id"]] = is_covered and is_done.get(row["batch_id"], True)
    if done := [str(batch_id) for batch_id, is_covered in is_done.items() if is_covered]:
        deltalake.DeltaTable(tables.path_of(root, RECENT_BRANDS)).delete(f"batch_id IN ({', '.join(done)})")
