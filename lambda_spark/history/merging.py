"""The merge rule of recent brands, over Arrow tables: merged, cut to the most recent, and packed for the state.

Sightings have one row per (user_id, brand): the newest time, in microseconds since 1970, and the message it came from
(-1 for events of the master dataset). The rows of a user are adjacent, newest brand first. Brands are indices into a
dictionary: these sort and copy faster than texts. Merging is commutative, associative and idempotent, so neither the
order nor the repetition of events can change a list.

The shard of a user is the key of the speed layer's state and of the batch layer's shuffle: a row per shard costs far
less than a row per user (docs/adr/0002-state-design.md).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow.dataset import Dataset

from lambda_spark import engine
from lambda_spark.engine import brand_sql, group_positions, sql_list, starts_group

SIGHTINGS = pa.schema(
    [
        ("user_id", pa.int64()),
        ("brand", pa.dictionary(pa.int32(), pa.string())),
        ("seen_at", pa.int64()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)

_BRAND = pa.struct([("brand", pa.string()), ("last_seen_at", pa.timestamp("us", tz="UTC"))])
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")
# One row per shard of users: the sightings of its users, packed.
PACKED = "shard int, packed binary"

Numbers = NDArray[np.int64]


def pack(sightings: pa.Table | pa.RecordBatch, *, compressed: bool = False) -> bytes:
    """Pack sightings into bytes, in Arrow's stream format; compressed if they are stored or shuffled."""
    named = sightings.set_column(SIGHTINGS.names.index("brand"), "brand", _without_unused(_array(sightings["brand"])))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SIGHTINGS, options=_COMPRESSED if compressed else None) as stream:
        stream.write(named)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack(packed: Sequence[bytes]) -> pa.Table:
    """Return all packed sightings in one table, without fields that a later version may have added."""
    tables = [pa.ipc.open_stream(each).read_all().select(SIGHTINGS.names) for each in packed]
    return _concatenated([SIGHTINGS.empty_table(), *tables])


def merge(sightings: pa.Table, limit: int | None = None) -> pa.Table:
    """Keep per user and brand the newest time, and per user the `limit` most recent brands (or all), ties by brand."""
    user, seen = (sightings[name].to_numpy() for name in ("user_id", "seen_at"))
    brand, brands = _places_in_order(_array(sightings["brand"]))
    source = (-sightings[name].to_numpy() for name in ("offset", "partition"))
    newest_first = np.lexsort((*source, brand, -seen, user))
    ordered = user[newest_first]
    kept = newest_first[_is_first(np.cumsum(starts_group(ordered)) * brands + brand[newest_first])]
    if limit is not None:
        kept = kept[group_positions(user[kept]) < limit]
    return sightings.take(pa.array(kept))


def update(known: pa.Table, new: pa.Table, limit: int) -> tuple[pa.Table, pa.Table]:
    """Merge new sightings into the known ones; return all of them, and those of the users that had new ones."""
    touched = pc.is_in(known["user_id"], value_set=pc.unique(new["user_id"]))
    merged = merge(_concatenated([known.filter(touched), new]), limit)
    return _concatenated([known.filter(pc.invert(touched)), merged]), merged


def drop_covered(sightings: pa.Table, covered: Mapping[int, int]) -> pa.Table:
    """Drop the sightings that came from messages below an offset, given per partition."""
    is_covered = np.zeros(len(sightings), dtype=bool)
    partition, offset = (sightings[name].to_numpy() for name in ("partition", "offset"))
    for number, end in covered.items():
        is_covered |= (partition == number) & (offset < end)
    return sightings.filter(pa.array(~is_covered))


def brand_lists(sightings: pa.Table) -> pa.RecordBatch:
    """Return one row per user, columns as schemas.USER_BRANDS; the sightings of a user must be adjacent."""
    starts = np.flatnonzero(starts_group(sightings["user_id"].to_numpy()))
    seen_at = sightings["seen_at"].combine_chunks().cast(_BRAND.field("last_seen_at").type)
    names = _array(sightings["brand"]).cast(pa.string())
    brands = pa.StructArray.from_arrays([names, seen_at], fields=list(_BRAND))
    lists = pa.ListArray.from_arrays(pa.array([*starts, len(sightings)], pa.int32()), brands)
    user_ids = sightings["user_id"].combine_chunks().take(pa.array(starts))
    return pa.RecordBatch.from_arrays([user_ids, lists], ["user_id", "brands"])


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all tables, with one dictionary of brands."""
    return pa.concat_tables(tables).combine_chunks()


def _array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _without_unused(brands: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return the brands with a dictionary that holds only those in use."""
    place = brands.indices.to_numpy()
    is_used = np.zeros(len(brands.dictionary), dtype=bool)
    is_used[place] = True
    new_place = (np.cumsum(is_used) - 1).astype(np.int32)
    return pa.DictionaryArray.from_arrays(new_place[place], brands.dictionary.filter(pa.array(is_used)))


def _places_in_order(brands: pa.DictionaryArray) -> tuple[Numbers, int]:
    """Return the rank of each brand in the sorted dictionary, and the size of the dictionary."""
    place: Numbers = np.empty(len(brands.dictionary), dtype=np.int64)
    place[pc.sort_indices(brands.dictionary).to_numpy()] = np.arange(len(place))
    return place[brands.indices.to_numpy()], len(place)


def _is_first(keys: Numbers) -> NDArray[np.bool_]:
    """Return for each key whether it is its first occurrence; a dictionary numbers keys as they come."""
    kind = pa.array(keys).dictionary_encode().indices.to_numpy()
    is_first: NDArray[np.bool_] = np.diff(np.maximum.accumulate(kind), prepend=-1) > 0
    return is_first


def browsed_brand_sql(event_types: Sequence[str]) -> str:
    """Return SQL of the brand that an event shows its user browsed, NULL if none; no event types means all."""
    brand = brand_sql("brand")
    return f"CASE WHEN event_type IN ({sql_list(event_types)}) THEN {brand} END" if event_types else brand


def combine_batch(events: pa.Table, shards: int) -> pa.Table:
    """Combine events (user_id, brand, event_time, partition, offset) of a batch. One row per shard, columns as PACKED.

    Events with a NULL brand are dropped.
    """
    # Filtered here, since DuckDB would compute the event and the brand twice for a condition on the brand.
    branded = events.filter(pc.is_valid(events["brand"])).rename_columns(SIGHTINGS.names)
    return pack_shards(merge(branded.cast(SIGHTINGS)), shards)


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
    packed = [pack(each, compressed=True) for each in slices]
    return pa.table({"shard": pa.array(numbers, pa.int32()), "packed": pa.array(packed, pa.binary())})


def lists_of_shards(packed: pa.Table, limit: int) -> Iterator[pa.Table]:
    """Yield for each shard one row per user, schemas.USER_BRANDS; all rows of a shard must be in the table (PACKED)."""
    for shard in pc.unique(packed["shard"]):
        of_shard = packed.filter(pc.equal(packed["shard"], shard))["packed"]
        sightings = merge(unpack(of_shard.to_pylist()), limit)
        yield pa.Table.from_batches([brand_lists(sightings)])


def _compared_brands(brands: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return the brands as they are compared, NULL if there is none; each of the dictionary is computed once."""
    sql = f"SELECT {brand_sql('name')} AS brand FROM names"
    found = engine.query(sql, names=pa.table({"name": brands.dictionary}))["brand"]
    names = found.combine_chunks().dictionary_encode()
    return pa.DictionaryArray.from_arrays(names.indices.take(brands.indices), names.dictionary)
