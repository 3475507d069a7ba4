"""A user's recent brands as the speed layer keeps them: merged into the state of a shard of users.

A call into the state costs far more than the merge itself, so the state has one key per shard, not per user
(docs/adr/0002-state-design.md). What the combiner sends, the state holds and the processor returns is packed the same
way (lambda_spark.sightings). The events that the query carries along have keys of their own, and no state.

What the speed layer does where a batch view covers more than before: it drops that from its logs and its state.
"""

import json
from collections.abc import Iterator
from typing import Any

import deltalake
from pyspark import TaskContext
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from lambda_spark.delta import tables
from lambda_spark.delta.coverage import Held, covered_offsets, is_covered_by
from lambda_spark.delta.tables import LIVE_ACTIVITY, RECENT_BRANDS, Table
from lambda_spark.engine import freeze_gc
from lambda_spark.history import merging
from lambda_spark.history.combining import PACKED, is_live
from lambda_spark.schemas import Offsets
from lambda_spark.settings import BrandSettings

# A property of Spark's tasks: how far the batch view covers the topic, as JSON of partition -> offset.
COVERED = "lambda_spark.covered"


class RecentBrands(StatefulProcessor):
    """Merges what users browsed into the state of their shard; returns one packed row of the users it touched.

    What the batch view covers is dropped from the state: the merge of both views has it.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Open the state: the packed sightings of a shard."""
        freeze_gc()
        self._sightings = handle.getValueState("sightings", "packed binary")

    def handleInputRows(self, key: Any, rows: Iterator[Any], timerValues: Any) -> Iterator[Row]:  # noqa: N802, N803
        """Merge the packed rows of one shard into its state; events pass as they are."""
        if is_live(key[0]):
            yield from (Row(shard=key[0], packed=row.packed) for row in rows)
            return
        stored = self._sightings.get()
        known = merging.drop_covered(merging.unpack([stored[0]] if stored else []), _covered())
        new = merging.unpack([row.packed for row in rows])
        everything, touched = merging.update(known, new, self._limit)
        self._sightings.update((merging.pack(everything, compressed=True),))
        yield Row(shard=key[0], packed=merging.pack(touched))


def update_brand_state(combined: DataFrame, limit: int) -> DataFrame:
    """Merge combined messages into the state. One row per (micro-batch, shard) touched, columns as PACKED."""
    return combined.groupBy("shard").transformWithState(
        statefulProcessor=RecentBrands(limit), outputStructType=PACKED, outputMode="update", timeMode="none"
    )


def _covered() -> dict[int, int]:
    context = TaskContext.get()
    covered = context.getLocalProperty(COVERED) if context else None
    return {int(partition): offset for partition, offset in json.loads(covered or "{}").items()}


# A micro-batch that a log holds rows of: its number, the topic, and the next offset of each partition.
_Ends = tuple[int, str, Offsets]


def drop_covered(spark: SparkSession, root: str, topic: str, brands: BrandSettings, held: Held) -> Held:
    """Where the batch views cover more than was dropped, drop that too; return from where on the views hold it now.

    To be called from within `foreachBatch`, before its rows are read: the logs lose it at once, the state as its shards
    are touched.
    """
    covered = {
        name: offsets
        for name, offsets in covered_offsets(root, topic, brands).items()
        if not is_covered_by(offsets, held.get(name, {}))
    }
    if LIVE_ACTIVITY.name in covered:
        _drop_from_log(root, LIVE_ACTIVITY, topic, covered[LIVE_ACTIVITY.name], _ends_of_events(root))
    if RECENT_BRANDS.name in covered:
        _drop_from_log(root, RECENT_BRANDS, topic, covered[RECENT_BRANDS.name], _ends_of_lists(root))
        # The tasks of the micro-batches inherit it from this thread, which is that of the query.
        spark.sparkContext.setLocalProperty(COVERED, json.dumps(covered[RECENT_BRANDS.name]))
    return {**held, **{name: {**held.get(name, {}), **offsets} for name, offsets in covered.items()}}


def _drop_from_log(root: str, log: Table, topic: str, covered: Offsets, batches: Iterator[_Ends]) -> None:
    """Delete the micro-batches that lie wholly below what is covered."""
    is_done: dict[int, bool] = {}
    for batch_id, source_topic, ends in batches:
        is_covered = source_topic == topic and is_covered_by(ends, covered)
        is_done[batch_id] = is_covered and is_done.get(batch_id, True)
    if any(is_done.values()):
        done = ", ".join(str(batch_id) for batch_id, done in is_done.items() if done)
        deltalake.DeltaTable(tables.path_of(root, log)).delete(f"batch_id IN ({done})")


def _ends_of_lists(root: str) -> Iterator[_Ends]:
    rows = tables.read_arrow(root, RECENT_BRANDS, ["batch_id", "source_topic", "source_offsets"])
    return ((row["batch_id"], row["source_topic"], dict(row["source_offsets"])) for row in rows.to_pylist())


def _ends_of_events(root: str) -> Iterator[_Ends]:
    keys = ["batch_id", "source_topic", "source_partition"]
    rows = tables.read_arrow(root, LIVE_ACTIVITY, [*keys, "source_offset"])
    newest = rows.group_by(keys).aggregate([("source_offset", "max")])
    return (
        (row["batch_id"], row["source_topic"], {row["source_partition"]: row["source_offset_max"] + 1})
        for row in newest.to_pylist()
    )
