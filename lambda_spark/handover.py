"""The division of work between the layers: what `user_brands` covers, the speed layer drops from its state and its log.

Covered is what the master dataset held when the view was computed: messages below an offset per partition, never events
before a time. A batch view that is visible covers for good, so dropping later, or twice, does no harm
(docs/adr/0008-hand-over.md).
"""

import json
from collections.abc import Mapping
from typing import Any

import deltalake
from pyspark.sql import SparkSession

from lambda_spark import tables
from lambda_spark.brand_state import COVERED
from lambda_spark.checkpoints import Offsets
from lambda_spark.settings import BrandSettings
from lambda_spark.tables import RECENT_BRANDS, USER_BRANDS

# The keys of the lineage of `user_brands`: how far it covers the topic, and by which rule.
COVERS, RULE = "covers", "rule"
_TOPIC, _OFFSETS = "topic", "offsets"


def reach(topic: str, offsets: Offsets) -> dict[str, Any]:
    """Return what a commit says of how far its table holds the topic."""
    return {_TOPIC: topic, _OFFSETS: offsets}


def covered_offsets(root: str, topic: str, brands: BrandSettings) -> Offsets:
    """Return, per partition, the offset below which `user_brands` has all messages, by the same rule."""
    lineage = tables.lineage_of(root, USER_BRANDS) or {}
    covered = lineage.get(COVERS, {})
    is_ours = covered.get(_TOPIC) == topic and lineage[RULE] == brands.model_dump(mode="json")
    return _offsets(covered) if is_ours else {}


def dropped_offsets(root: str, topic: str) -> Offsets:
    """Return, per partition, the offset below which the speed layer may have dropped what messages told."""
    lineage = tables.lineage_of(root, RECENT_BRANDS) or {}
    return _offsets(lineage) if lineage.get(_TOPIC) == topic else {}


def drop_covered(spark: SparkSession, root: str, topic: str, brands: BrandSettings, dropped: Offsets) -> Offsets:
    """Where `user_brands` covers more than was dropped, drop that too; return what has been dropped now.

    To be called from within `foreachBatch`: the log loses it at once, the state from the next micro-batch on.
    """
    covered = covered_offsets(root, topic, brands)
    if is_within(covered, dropped):
        return dropped
    _drop_from_log(root, topic, covered)
    # The next micro-batches' tasks inherit it from this thread, which is that of the query.
    spark.sparkContext.setLocalProperty(COVERED, json.dumps(covered))
    return {**dropped, **covered}


def _drop_from_log(root: str, topic: str, covered: Offsets) -> None:
    """Delete the micro-batches of `recent_brands` that lie wholly below what is covered."""
    log = deltalake.DeltaTable(tables.path_of(root, RECENT_BRANDS))
    is_done: dict[int, bool] = {}
    for row in log.to_pyarrow_table(columns=["batch_id", "source_topic", "source_offsets"]).to_pylist():
        is_covered = row["source_topic"] == topic and is_within(dict(row["source_offsets"]), covered)
        is_done[row["batch_id"]] = is_covered and is_done.get(row["batch_id"], True)
    if any(is_done.values()):
        done = ", ".join(str(batch_id) for batch_id, done in is_done.items() if done)
        log.delete(f"batch_id IN ({done})")


def hole(root: str) -> tuple[str, ...]:
    """Return what to say where the speed layer has dropped what `user_brands`, made anew since, does not cover."""
    dropped = tables.lineage_of(root, RECENT_BRANDS) or {}
    covered = (tables.lineage_of(root, USER_BRANDS) or {}).get(COVERS, {})
    is_same_topic = dropped.get(_TOPIC) == covered.get(_TOPIC)
    if is_within(_offsets(dropped), _offsets(covered) if is_same_topic else {}):
        return ()
    return (f"Brands of some users are in neither view: run {USER_BRANDS.written_by}.",)


def is_within(offsets: Offsets, covered: Offsets) -> bool:
    """Say whether all messages below the one are below the other."""
    return all(end <= covered.get(partition, 0) for partition, end in offsets.items())


def _offsets(reached: Mapping[str, Any]) -> Offsets:
    return {int(partition): offset for partition, offset in reached.get(_OFFSETS, {}).items()}
