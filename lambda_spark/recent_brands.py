"""A user's recent brands as the batch layer computes them: from the files of the master dataset, and by merging lists.

Per user and distinct brand the newest event time, then the `limit` largest by (last_seen_at descending, brand
ascending). Merging lists and cutting them is commutative, associative and idempotent, so neither order nor repetition
can change a list. What comes from files is merged by the speed layer's own rule, lambda_spark.sightings; views are
merged in Spark, where they are, by the same rule.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial, reduce

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import parsing, sightings
from lambda_spark.brand_state import PACKED, named_types, pack_shards
from lambda_spark.brands import normalised_brand_sql
from lambda_spark.event_files import EventFile, in_parts, open_files, over_parts
from lambda_spark.parquet_files import MakeRows, rows_of
from lambda_spark.schemas import USER_BRANDS
from lambda_spark.time_ranges import UTC

# What a task reads: many events of a user to combine, few enough for its memory. And what a task merges.
_EVENTS_PER_PART, _EVENTS_PER_SHARD = 8_000_000, 2_000_000

_PACKED_IN_ARROW = pa.schema([("shard", pa.int32()), ("packed", pa.binary())])


def brand_lists(
    spark: SparkSession,
    files: Sequence[EventFile],
    limit: int,
    event_types: Sequence[str] = (),
    before: datetime | None = None,
    later: pa.Table | None = None,
) -> DataFrame:
    """Compute the recent brands from events, from those before an instant where one is given. One row per user_id.

    `later` are events that are in no file, rows as live_events.LIVE_EVENTS. No event types means all. Columns as
    schemas.USER_BRANDS.
    """
    combined = combined_brands(spark, files, event_types, before, later)
    return combined.mapInArrow(rows_of(list_maker(limit)), USER_BRANDS)


def combined_brands(
    spark: SparkSession,
    files: Sequence[EventFile],
    event_types: Sequence[str] = (),
    before: datetime | None = None,
    later: pa.Table | None = None,
) -> DataFrame:
    """Combine events as far as a task has them. One row per (task, shard of users), columns as brand_state.PACKED.

    The rows of a shard are in one partition.
    """
    shards = 1 + sum(file.row_count for file in files) // _EVENTS_PER_SHARD
    conditions = ["brand IS NOT NULL"]
    conditions += [f"event_type IN ({named_types(event_types)})"] if event_types else []
    conditions += [f"event_time < TIMESTAMPTZ '{before.astimezone(UTC)}'"] if before else []
    combine = partial(_combine, condition=" AND ".join(conditions), shards=shards)
    parts: list[list[EventFile] | pa.Table] = [*in_parts(files, _EVENTS_PER_PART), *([later] if later else [])]
    return over_parts(spark, parts, combine, PACKED).repartition(shards, "shard")


def list_maker(limit: int) -> MakeRows:
    """Return what turns all of a partition's combined_brands into one row per user, schemas.USER_BRANDS."""

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table]]:
        packed = pa.Table.from_batches(batches, _PACKED_IN_ARROW)
        for shard in pc.unique(packed["shard"]):
            of_shard = packed.filter(pc.equal(packed["shard"], shard))["packed"]
            seen = sightings.merge(sightings.unpack(of_shard.to_pylist()), limit)
            yield (pa.Table.from_batches([sightings.brand_lists(seen)]),)

    return make


def merge_brand_lists(lists: Sequence[DataFrame], limit: int) -> DataFrame:
    """Merge views of recent brands (user_id, brands). One row per user_id, schemas.USER_BRANDS."""
    return _newest_first(_union(lists).select("user_id", F.inline("brands")), limit)


def merge_into(lists: DataFrame, changes: DataFrame, limit: int) -> DataFrame:
    """Merge changes into a view that has one row per user; the users without any keep their list, which costs little.

    One row per user_id, schemas.USER_BRANDS.
    """
    touched = changes.select("user_id").distinct()
    known = lists.join(touched, "user_id", "left_semi")
    return _union([lists.join(touched, "user_id", "left_anti"), merge_brand_lists([known, changes], limit)])


def _combine(events: list[EventFile] | pa.Table, condition: str, shards: int) -> pa.Table:
    """Combine what events, of files or in memory, say of each user and brand. One row per shard, columns as PACKED."""
    sql = f"""
        SELECT user_id, brand, epoch_us(max(event_time)) AS seen_at,
            CAST(-1 AS INTEGER) AS "partition", CAST(-1 AS BIGINT) AS "offset"
        FROM events WHERE {condition} GROUP BY user_id, brand
    """
    relation = events if isinstance(events, pa.Table) else open_files(events)
    seen = parsing.run(parsing.connect(), sql, events=relation)
    brands = _normalised(seen["brand"].combine_chunks().dictionary_encode())
    seen = seen.set_column(seen.schema.get_field_index("brand"), "brand", brands)
    return pack_shards(seen.filter(pc.is_valid(brands)), shards)


def _normalised(brands: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return the brands that are compared, NULL where there is none; each of the dictionary is worked out once."""
    sql = f"SELECT {normalised_brand_sql('name')} AS brand FROM names"
    found = parsing.run(parsing.connect(), sql, names=pa.table({"name": brands.dictionary}))["brand"]
    names = found.combine_chunks().dictionary_encode()
    return pa.DictionaryArray.from_arrays(names.indices.take(brands.indices), names.dictionary)


def _union(lists: Sequence[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, [brands.select("user_id", "brands") for brands in lists])


def _newest_first(seen: DataFrame, limit: int) -> DataFrame:
    """Turn rows of (user_id, brand, last_seen_at) into one list per user."""
    latest = seen.groupBy("user_id", "brand").agg(F.max("last_seen_at").alias("last_seen_at"))
    # Sorting structs needs no comparator: the time is negated, so that ascending order is newest first, then by brand.
    order = F.struct((-F.unix_micros("last_seen_at")).alias("age"), "brand")
    sorted_lists = latest.groupBy("user_id").agg(F.slice(F.sort_array(F.collect_list(order)), 1, limit).alias("brands"))
    return sorted_lists.select(
        "user_id",
        F.transform(
            "brands",
            lambda item: F.struct(item["brand"].alias("brand"), F.timestamp_micros(-item["age"]).alias("last_seen_at")),
        ).alias("brands"),
    )
