"""A user's recent brands as the batch layer computes them, from the files of the master dataset.

Per user and distinct brand the newest event time, then the `limit` largest by (last_seen_at descending, brand
ascending). Merging lists and cutting them is commutative, associative and idempotent, so neither order nor repetition
can change a list. What comes from files is merged by the speed layer's own rule, lambda_spark.sightings; views are
merged in Spark, where they are, by the same rule (lambda_spark.merging).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark import parsing, sightings
from lambda_spark.brands import normalised_brand_sql
from lambda_spark.event_files import EventFile, in_parts, open_files, over_parts
from lambda_spark.parquet_files import MakeRows, rows_of
from lambda_spark.parsing import named_types
from lambda_spark.schemas import USER_BRANDS
from lambda_spark.shards import PACKED, pack_shards
from lambda_spark.time_ranges import UTC

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# What a task reads: many events of a user to combine, few enough for its memory. And what a task merges.
_EVENTS_PER_PART, _EVENTS_PER_SHARD = 8_000_000, 2_000_000

_NO_LIST = pa.Table.from_batches([sightings.brand_lists(sightings.SIGHTINGS.empty_table())])
_PACKED_IN_ARROW = pa.schema([("shard", pa.int32()), ("packed", pa.binary())])


def brand_lists(
    spark: "SparkSession",
    files: Sequence[EventFile],
    limit: int,
    event_types: Sequence[str] = (),
    before: datetime | None = None,
    later: pa.Table | None = None,
) -> "DataFrame":
    """Compute the recent brands from events, from those before an instant where one is given. One row per user_id.

    `later` are events that are in no file, rows as live_events.LIVE_EVENTS. No event types means all. Columns as
    schemas.USER_BRANDS.
    """
    combined = combined_brands(spark, files, event_types, before, later)
    return combined.mapInArrow(rows_of(list_maker(limit)), USER_BRANDS)


def combined_brands(
    spark: "SparkSession",
    files: Sequence[EventFile],
    event_types: Sequence[str] = (),
    before: datetime | None = None,
    later: pa.Table | None = None,
) -> "DataFrame":
    """Combine events as far as a task has them. One row per (task, shard of users), columns as brand_state.PACKED.

    The rows of a shard are in one partition.
    """
    shards = 1 + sum(file.row_count for file in files) // _EVENTS_PER_SHARD
    combine = partial(_combine, condition=_condition(event_types, before), shards=shards)
    parts: list[list[EventFile] | pa.Table] = [*in_parts(files, _EVENTS_PER_PART), *([later] if later else [])]
    return over_parts(spark, parts, combine, PACKED).repartition(shards, "shard")


def list_of_user(
    user_id: int,
    files: Sequence[EventFile],
    limit: int,
    event_types: Sequence[str] = (),
    before: datetime | None = None,
    later: pa.Table | None = None,
) -> pa.Table:
    """Compute the same for one user here, in this process: one row, or none where no brand is known of the user."""
    parts = [part for part in (list(files), later) if part]
    condition = f"{_condition(event_types, before)} AND user_id = {user_id}"
    packed = [batch for part in parts for batch in _combine(part, condition, 1).to_batches()]
    return next(list_maker(limit)(iter(packed)), (_NO_LIST,))[0]


def list_maker(limit: int) -> MakeRows:
    """Return what turns all of a partition's combined_brands into one row per user, schemas.USER_BRANDS."""

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table]]:
        packed = pa.Table.from_batches(batches, _PACKED_IN_ARROW)
        for shard in pc.unique(packed["shard"]):
            of_shard = packed.filter(pc.equal(packed["shard"], shard))["packed"]
            seen = sightings.merge(sightings.unpack(of_shard.to_pylist()), limit)
            yield (pa.Table.from_batches([sightings.brand_lists(seen)]),)

    return make


def _condition(event_types: Sequence[str], before: datetime | None) -> str:
    """SQL of the events that tell of a brand."""
    conditions = ["brand IS NOT NULL"]
    conditions += [f"event_type IN ({named_types(event_types)})"] if event_types else []
    conditions += [f"event_time < TIMESTAMPTZ '{before.astimezone(UTC)}'"] if before else []
    return " AND ".join(conditions)


def _combine(events: list[EventFile] | pa.Table, condition: str, shards: int) -> pa.Table:
    """Combine what events, of files or in memory, say of each user and brand. One row per shard, columns as PACKED."""
    sql = f"""
        SELECT user_id, brand, epoch_us(max(event_time)) AS seen_at,
            CAST(-1 AS INTEGER) AS "partition", CAST(-1 AS BIGINT) AS "offset"
        FROM events WHERE {condition} GROUP BY user_id, brand
    """
    relation = events if isinstance(events, pa.Table) else open_files(events)
    seen = parsing.run(parsing.connect().cursor(), sql, events=relation)
    brands = _normalised(seen["brand"].combine_chunks().dictionary_encode())
    seen = seen.set_column(seen.schema.get_field_index("brand"), "brand", brands)
    return pack_shards(seen.filter(pc.is_valid(brands)), shards)


def _normalised(brands: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return the brands that are compared, NULL where there is none; each of the dictionary is worked out once."""
    sql = f"SELECT {normalised_brand_sql('name')} AS brand FROM names"
    found = parsing.run(parsing.connect().cursor(), sql, names=pa.table({"name": brands.dictionary}))["brand"]
    names = found.combine_chunks().dictionary_encode()
    return pa.DictionaryArray.from_arrays(names.indices.take(brands.indices), names.dictionary)
