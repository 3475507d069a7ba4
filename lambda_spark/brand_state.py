"""A user's recent brands as the speed layer keeps them: merged into the state of a shard of users.

A call into the state costs far more than the merge itself, so the state has one key per shard, not per user
(docs/adr/0002-state-design.md). What the combiner sends, the state holds and the processor returns is packed the same
way (lambda_spark.sightings). The events that the query carries along have keys of their own, and no state.
"""

import json
from collections.abc import Iterator
from typing import Any

from pyspark import TaskContext
from pyspark.sql import DataFrame, Row
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from lambda_spark import sightings
from lambda_spark.live_events import is_live
from lambda_spark.shards import PACKED
from lambda_spark.workers import settle

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
