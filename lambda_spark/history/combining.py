"""What users browsed in a batch of events, combined per user and brand, and packed by shard of users.

The shard is the key of the speed layer's state and of the batch layer's shuffle: a row per shard costs far less than a
row per user (docs/adr/0002-state-design.md).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.dataset import Dataset

from lambda_spark import engine
from lambda_spark.engine import brand_sql, sql_list
from lambda_spark.history import merging

# One row per shard of users: the sightings of its users, packed by merging.pack.
PACKED = "shard int, packed binary"


def browsed_brand_sql(event_types: Sequence[str]) -> str:
    """Return SQL of the brand that an event shows its user browsed, NULL if none; no event types means all."""
    brand = brand_sql("brand")
    return f"CASE WHEN event_type IN ({sql_list(event_types)}) THEN {brand} END" if event_types else brand


def combine_batch(events: pa.Table, shards: int) -> pa.Table:
    """Combine events (user_id, brand, event_time, partition, offset) of a batch. One row per shard, columns as PACKED.

    Events with a NULL brand are dropped.
    """
    # Filtered here, since DuckDB would compute the event and the brand twice for a condition on the brand.
    branded = events.filter(pc.is_valid(events["brand"])).rename_columns(merging.SIGHTINGS.names)
    return pack_shards(merging.merge(branded.cast(merging.SIGHTINGS)), shards)


def combine_stored(events: Dataset, condition: str, event_types: Sequence[str], shards: int) -> pa.Table:
    """Combine the stored events that meet a SQL condition. One row per shard, columns as PACKED."""
    of_type = f"event_type IN ({sql_list(event_types)})" if event_types else "true"
    sql = f"""
        SELECT user_id, brand, epoch_us(max(event_time)) AS seen_at,
            CAST(-1 AS INTEGER) AS "partition", CAST(-1 AS BIGINT) AS "offset"
        FROM events WHERE brand IS NOT NULL AND {of_type} AND {condition} GROUP BY user_id, brand
    """
    seen = engine.query(sql, events=events)
    brands = _compared_brands(seen["brand"].combine_chunks().dictionary_encode())
    seen = seen.set_column(seen.schema.get_field_index("brand"), "brand", brands)
    return pack_shards(seen.filter(pc.is_valid(brands)), shards)


def pack_shards(sightings: pa.Table, shards: int) -> pa.Table:
    """Pack sightings by the shards of their users. One row per shard, columns as PACKED."""
    # A multiplicative hash in plain arithmetic: the shard of a user must be the same with every version of a library.
    shard = np.abs(np.fmod(sightings["user_id"].to_numpy(), 2_147_483_647)) * 2_654_435_761 // 65_536 % shards
    # Small numbers are sorted in one pass.
    order = np.argsort(shard.astype(np.min_scalar_type(shards)), kind="stable")
    numbers, starts = np.unique(shard[order], return_index=True)
    ordered = sightings.take(pa.array(order)).combine_chunks()
    counts = np.diff(starts, append=len(ordered))
    slices = (ordered.slice(start, count) for start, count in zip(starts, counts, strict=True))
    packed = [merging.pack(each, compressed=True) for each in slices]
    return pa.table({"shard": pa.array(numbers, pa.int32()), "packed": pa.array(packed, pa.binary())})


def lists_of_shards(packed: pa.Table, limit: int) -> Iterator[pa.Table]:
    """Yield for each shard one row per user, schemas.USER_BRANDS; all rows of a shard must be in the table (PACKED)."""
    for shard in pc.unique(packed["shard"]):
        of_shard = packed.filter(pc.equal(packed["shard"], shard))["packed"]
        sightings = merging.merge(merging.unpack(of_shard.to_pylist()), limit)
        yield pa.Table.from_batches([merging.brand_lists(sightings)])


def _compared_brands(brands: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return the brands as they are compared, NULL if there is none; each of the dictionary is computed once."""
    sql = f"SELECT {brand_sql('name')} AS brand FROM names"
    found = engine.query(sql, names=pa.table({"name": brands.dictionary}))["brand"]
    names = found.combine_chunks().dictionary_encode()
    return pa.DictionaryArray.from_arrays(names.indices.take(brands.indices), names.dictionary)
