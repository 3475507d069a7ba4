"""A user's recent brands as the speed layer keeps them: combined per Arrow batch, merged into the state of a shard.

A call into the state costs far more than the merge itself, so the state has one key per shard of users, not per user
(docs/adr/0002-state-design.md). What the combiner sends, the state holds and the processor returns is packed the same
way (lambda_spark.sightings).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext
from pyspark.sql import DataFrame, Row
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from lambda_spark import sightings
from lambda_spark.brands import normalised_brand_sql
from lambda_spark.events import MESSAGE_COLUMNS, Batches, over_message_batches
from lambda_spark.parquet_files import MakeRows
from lambda_spark.parsing import PARSE_MESSAGES
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
        """Merge the packed rows of one shard into its state."""
        stored = self._sightings.get()
        known = sightings.drop_covered(sightings.unpack([stored[0]] if stored else []), _covered())
        new = sightings.unpack([row.packed for row in rows])
        everything, touched = sightings.update(known, new, self._limit)
        self._sightings.update((sightings.pack(everything, compressed=True),))
        yield Row(shard=key[0], packed=sightings.pack(touched))


def combine_messages(messages: DataFrame, shards: int, event_types: Sequence[str] = ()) -> DataFrame:
    """Parse Kafka rows and combine what each user browsed. One row per (Arrow batch, shard), columns as PACKED."""
    return messages.select(*MESSAGE_COLUMNS).mapInArrow(combiner(shards, event_types), PACKED)


def combiner(shards: int, event_types: Sequence[str]) -> Callable[[Batches], Batches]:
    """Return the function over Arrow batches that does it."""
    sql = _sightings_sql(event_types)

    def combine(batches: Batches) -> Batches:
        for seen in over_message_batches(sql, batches):
            # Filtered here, since DuckDB would work out the event and the brand twice for a condition on the brand.
            named = seen.filter(pc.is_valid(seen["brand"]))
            browsed = sightings.merge(named.cast(sightings.SIGHTINGS))
            yield from pack_shards(browsed, shards).to_batches()

    return combine


def update_brand_state(combined: DataFrame, limit: int) -> DataFrame:
    """Merge combined messages into the state. One row per (micro-batch, shard) touched, columns as PACKED."""
    return combined.groupBy("shard").transformWithState(
        statefulProcessor=RecentBrands(limit), outputStructType=PACKED, outputMode="update", timeMode="none"
    )


def brand_list_maker(**told: pa.Scalar) -> MakeRows:
    """Return the function that turns packed sightings into one row per user, schemas.USER_BRANDS, and what is told."""

    def make(batches: Batches) -> Iterator[tuple[pa.Table]]:
        for batch in batches:
            lists = pa.Table.from_batches([sightings.brand_lists(sightings.unpack(batch["packed"].to_pylist()))])
            for name, value in told.items():
                lists = lists.append_column(name, pa.repeat(value, len(lists)))
            yield (lists,)

    return make


def _covered() -> dict[int, int]:
    context = TaskContext.get()
    covered = context.getLocalProperty(COVERED) if context else None
    return {int(partition): offset for partition, offset in json.loads(covered or "{}").items()}


def _sightings_sql(event_types: Sequence[str]) -> str:
    condition = f"AND event_type IN ({named_types(event_types)})" if event_types else ""
    return f"""
    SELECT user_id, {normalised_brand_sql("brand")} AS brand, epoch_us(event_time) AS seen_at,
        source_partition AS "partition", source_offset AS "offset"
    FROM ({PARSE_MESSAGES}) WHERE reason IS NULL {condition}
    """


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
