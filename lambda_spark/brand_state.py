"""A user's recent brands as the speed layer keeps them: merged into the state of a shard of users.

A call into the state costs far more than the merge itself, so the state has one key per shard, not per user
(docs/adr/0002-state-design.md). What the combiner sends, the state holds and the processor returns is packed the same
way (lambda_spark.sightings). The events that the query carries along have keys of their own, and no state.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame, Row
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from lambda_spark import sightings
from lambda_spark.live_events import is_live
from lambda_spark.workers import settle

PACKED = "shard int, packed binary"

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
        settle()
        self._sightings = handle.getValueState("sightings", "packed binary")

    def handleInputRows(self, key: Any, rows: Iterator[Any], timerValues: Any) -> Iterator[Row]:  # noqa: N802, N803
        """Merge the packed rows of one shard into its state; events pass as they are."""
        if is_live(key[0]):
            yield from (Row(shard=key[0], packed=row.packed) for row in rows)
            return
        stored = self._sightings.get()
        known = sightings.drop_covered(sightings.unpack([stored[0]] if stored else []), _covered())
        new = sightings.unpack([row.packed for row in rows])
        everything, touched = sightings.update(known, new, self._limit)
        self._sightings.update((sightings.pack(everything, compressed=True),))
        yield Row(shard=key[0], packed=sightings.pack(touched))


def update_brand_state(combined: DataFrame, limit: int) -> DataFrame:
    """Merge combined messages into the state. One row per (micro-batch, shard) touched, columns as PACKED."""
    return combined.groupBy("shard").transformWithState(
        statefulProcessor=RecentBrands(limit), outputStructType=PACKED, outputMode="update", timeMode="none"
    )


def _covered() -> dict[int, int]:
    context = TaskContext.get()
    covered = context.getLocalProperty(COVERED) if context else None
    return {int(partition): offset for partition, offset in json.loads(covered or "{}").items()}


def named_types(event_types: Sequence[str]) -> str:
    """Return the event types as a list in SQL."""
    return ", ".join("'{}'".format(name.replace("'", "''")) for name in event_types)


def pack_shards(rows: pa.Table, shards: int) -> pa.Table:
    """Pack sightings by the shards of their users. One row per shard, columns as PACKED."""
    # A multiplicative hash in plain arithmetic: the shard of a user must be the same with every version of a library.
    shard = np.abs(np.fmod(rows["user_id"].to_numpy(), 2_147_483_647)) * 2_654_435_761 // 65_536 % shards
    # Small numbers are sorted in one pass.
    order = np.argsort(shard.astype(np.min_scalar_type(shards)), kind="stable")
    numbers, starts = np.unique(shard[order], return_index=True)
    ordered = rows.take(pa.array(order)).combine_chunks()
    counts = np.diff(starts, append=len(ordered))
    slices = (ordered.slice(start, count) for start, count in zip(starts, counts, strict=True))
    packed = [sightings.pack(each, compressed=True) for each in slices]
    return pa.table({"shard": pa.array(numbers, pa.int32()), "packed": pa.array(packed, pa.binary())})
