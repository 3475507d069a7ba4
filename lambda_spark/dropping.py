"""What the speed layer does where a batch view covers more than before: it drops that from its logs and its state."""

import json
from collections.abc import Iterator

import deltalake
from pyspark.sql import SparkSession

from lambda_spark import tables
from lambda_spark.brand_state import COVERED
from lambda_spark.checkpoints import Offsets
from lambda_spark.handover import Held, covered_offsets, is_within
from lambda_spark.settings import BrandSettings
from lambda_spark.tables import LIVE_ACTIVITY, RECENT_BRANDS, Table

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
        if not is_within(offsets, held.get(name, {}))
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
        is_covered = source_topic == topic and is_within(ends, covered)
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
