"""The stateful query: each user's recent brands, merged into the state of a shard of users. Runs on executors.

A call into the state costs far more than the merge itself, so the state has one key per shard of users, not per user
(docs/adr/0002-state-design.md). What the combiner sends, the state stores and the processor returns is packed alike.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pyspark import TaskContext
from pyspark.sql import DataFrame, Row
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from lambda_spark.engine import freeze_gc
from lambda_spark.events.parsing import MESSAGE_COLUMNS, PARSE_MESSAGES, Batches, over_message_batches
from lambda_spark.history import merging
from lambda_spark.history.merging import PACKED, browsed_brand_sql, combine_batch

# A local property of Spark's tasks: how far `user_brands` covers the topic, as JSON of partition -> offset.
COVERED = "lambda_spark.covered"


class RecentBrands(StatefulProcessor):
    """Merges what users browsed into the state of their shard; returns one packed row of the users it touched.

    What the batch view covers is dropped from the state: merging both views brings it back.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Open the state: the packed sightings of a shard."""
        freeze_gc()
        self._sightings = handle.getValueState("sightings", "packed binary")

    def handleInputRows(self, key: Any, rows: Iterator[Any], timerValues: Any) -> Iterator[Row]:  # noqa: N802, N803
        """Merge the packed rows of one shard into its state."""
        stored = self._sightings.get()
        known = merging.drop_covered(merging.unpack([stored[0]] if stored else []), _covered())
        new = merging.unpack([row.packed for row in rows])
        everything, touched = merging.update(known, new, self._limit)
        self._sightings.update((merging.pack(everything, compressed=True),))
        yield Row(shard=key[0], packed=merging.pack(touched))


def combine_messages(messages: DataFrame, shards: int, event_types: Sequence[str] = ()) -> DataFrame:
    """Parse Kafka rows and combine what each user browsed. One row per (Arrow batch, shard of users), as PACKED."""
    return messages.select(*MESSAGE_COLUMNS).mapInArrow(combiner(shards, event_types), PACKED)


def combiner(shards: int, event_types: Sequence[str]) -> Callable[[Batches], Batches]:
    """Return the function over Arrow batches of Kafka rows that combines each of them."""
    columns = f"user_id, {browsed_brand_sql(event_types)} AS brand, event_time, source_partition, source_offset"
    sql = f"SELECT {columns} FROM ({PARSE_MESSAGES}) WHERE reason IS NULL"

    def combine(batches: Batches) -> Batches:
        for events in over_message_batches(sql, batches):
            yield from combine_batch(events, shards).to_batches()

    return combine


def update_state(combined: DataFrame, limit: int) -> DataFrame:
    """Merge combined messages into the state. One row per (micro-batch, shard) touched, columns as PACKED."""
    return combined.groupBy("shard").transformWithState(
        statefulProcessor=RecentBrands(limit), outputStructType=PACKED, outputMode="update", timeMode="none"
    )


def _covered() -> dict[int, int]:
    context = TaskContext.get()
    covered = context.getLocalProperty(COVERED) if context else None
    return {int(partition): offset for partition, offset in json.loads(covered or "{}").items()}
