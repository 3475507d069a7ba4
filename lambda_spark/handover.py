"""The division of work between the layers: what a batch view covers, the speed layer drops from its state and its logs.

Covered is what the master dataset held when the view was computed: messages below an offset per partition, never events
before a time. A batch view that is visible covers for good, so dropping later, or twice, does no harm
(docs/adr/0008-hand-over.md).
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import deltalake
from pyspark.sql import SparkSession

from lambda_spark import tables
from lambda_spark.brand_state import COVERED
from lambda_spark.checkpoints import Offsets
from lambda_spark.settings import BrandSettings
from lambda_spark.tables import (
    LIVE_ACTIVITY,
    PRODUCT_ACTIVITY,
    RECENT_BRANDS,
    USER_BRANDS,
    Table,
)

# The keys of the lineage of a batch view: how far it covers the topic, and by which rule.
COVERS, RULE = "covers", "rule"
_TOPIC, _OFFSETS, _HELD = "topic", "offsets", "held_from"

# By the name of a realtime view, the offset of each partition from which on it holds what messages told.
Held = dict[str, Offsets]


def reach(topic: str, offsets: Offsets) -> dict[str, Any]:
    """Return what a commit says of how far its table holds the topic."""
    return {_TOPIC: topic, _OFFSETS: offsets}


def speed_lineage(topic: str, reached: Offsets, held: Held) -> dict[str, Any]:
    """Return what a micro-batch's commits say: how far the topic has been read, and from where on each view has it."""
    return {**reach(topic, reached), _HELD: held}


def offsets_of(lineage: Mapping[str, Any] | None, topic: str) -> Offsets:
    """Return how far a table holds the topic, by what its commit says; nothing where that is about another topic."""
    return _offsets((lineage or {}).get(_OFFSETS)) if topic_of(lineage) == topic else {}


def topic_of(lineage: Mapping[str, Any] | None) -> str | None:
    """Return the topic that a commit is about."""
    return (lineage or {}).get(_TOPIC)


def held_from(lineage: Mapping[str, Any] | None, topic: str) -> Held:
    """Return from where on the realtime views hold the topic, by what a micro-batch's commit says."""
    held = (lineage or {}).get(_HELD, {}) if topic_of(lineage) == topic else {}
    return {name: _offsets(offsets) for name, offsets in held.items()}


def held_by(root: str, topic: str, log: int | None = None) -> Held:
    """Return from where on the realtime views hold the topic, by the newest commit of `recent_brands`, or a version."""
    held = held_from(tables.lineage_of(root, RECENT_BRANDS, log), topic)
    # A `live_activity` that was lost and made anew said so when it was made.
    anew = held_from(tables.lineage_of(root, LIVE_ACTIVITY), topic).get(LIVE_ACTIVITY.name, {})
    return {name: further(offsets, anew) if name == LIVE_ACTIVITY.name else offsets for name, offsets in held.items()}


def live_from_now_on(root: str, topic: str) -> dict[str, Any] | None:
    """Return what the first commit of `live_activity` has to say: what was read before it is made, it does not hold."""
    reached = offsets_of(tables.lineage_of(root, RECENT_BRANDS), topic)
    return speed_lineage(topic, reached, {LIVE_ACTIVITY.name: reached}) if reached else None


def covered_offsets(root: str, topic: str, brands: BrandSettings) -> Held:
    """Return, by realtime view, the offsets below which its batch view has all messages; brands by the same rule."""
    lists, counts = (tables.lineage_of(root, view) or {} for view in (USER_BRANDS, PRODUCT_ACTIVITY))
    is_same_rule = lists.get(RULE) == brands.model_dump(mode="json")
    return {
        RECENT_BRANDS.name: offsets_of(lists.get(COVERS), topic) if is_same_rule else {},
        LIVE_ACTIVITY.name: offsets_of(counts.get(COVERS), topic),
    }


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


def is_within(offsets: Offsets, covered: Offsets) -> bool:
    """Say whether all messages below the one are below the other."""
    return all(end <= covered.get(partition, 0) for partition, end in offsets.items())


def further(one: Offsets, other: Offsets) -> Offsets:
    """Return the larger offset of each partition."""
    return {number: max(one.get(number, 0), other.get(number, 0)) for number in one | other}


# A micro-batch that a log holds rows of: its number, the topic, and the next offset of each partition.
_Ends = tuple[int, str, Offsets]


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


def _offsets(told: Mapping[str, int] | None) -> Offsets:
    return {int(partition): offset for partition, offset in (told or {}).items()}
