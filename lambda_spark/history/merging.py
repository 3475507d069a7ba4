"""Brands that users were seen with, as Arrow tables: merged, cut to the most recent, and packed for the state.

One row per (user_id, brand): the newest time, in microseconds since 1970, and the message that told it. The rows of a
user stand together, newest brand first. Brands are places in a dictionary: sorted and copied faster than texts.

Views of recent brands merged in Spark: the newest time of each user and brand, cut to the most recent.

The same rule as lambda_spark.sightings, which has it over Arrow tables.
"""

from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lambda_spark.engine import group_positions, starts_group

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
Numbers = NDArray[np.int64]


def pack(sightings: pa.Table | pa.RecordBatch, *, compressed: bool = False) -> bytes:
    """Pack sightings into bytes: Arrow's own stream format. Compressing is for what is kept or shuffled."""
    named = sightings.set_column(SIGHTINGS.names.index("brand"), "brand", _without_unused(_array(sightings["brand"])))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SIGHTINGS, options=_COMPRESSED if compressed else None) as stream:
        stream.write(named)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack(packed: Sequence[bytes]) -> pa.Table:
    """Return the sightings of all that was packed, one after another, without fields that a later version has added."""
    tables = [pa.ipc.open_stream(each).read_all().select(SIGHTINGS.names) for each in packed]
    return _concatenated([SIGHTINGS.empty_table(), *tables])


def merge(sightings: pa.Table, limit: int | None = None) -> pa.Table:
    """Keep, per user and brand, the newest time, and per user the `limit` most recent brands (or all), ties by brand.

    Merging is commutative, associative and idempotent: neither order nor repetition can change the lists.
    """
    user, seen = (sightings[name].to_numpy() for name in ("user_id", "seen_at"))
    brand, brands = _places_in_order(_array(sightings["brand"]))
    told_by = (-sightings[name].to_numpy() for name in ("offset", "partition"))
    newest_first = np.lexsort((*told_by, brand, -seen, user))
    ordered = user[newest_first]
    kept = newest_first[_is_first(np.cumsum(starts_group(ordered)) * brands + brand[newest_first])]
    if limit is not None:
        kept = kept[group_positions(user[kept]) < limit]
    return sightings.take(pa.array(kept))


def update(known: pa.Table, new: pa.Table, limit: int) -> tuple[pa.Table, pa.Table]:
    """Merge what is new into what is known; return all sightings, and those of the users with something new."""
    touched = pc.is_in(known["user_id"], value_set=pc.unique(new["user_id"]))
    merged = merge(_concatenated([known.filter(touched), new]), limit)
    return _concatenated([known.filter(pc.invert(touched)), merged]), merged


def drop_covered(sightings: pa.Table, covered: Mapping[int, int]) -> pa.Table:
    """Drop what messages below an offset told, given per partition."""
    is_covered = np.zeros(len(sightings), dtype=bool)
    partition, offset = (sightings[name].to_numpy() for name in ("partition", "offset"))
    for number, end in covered.items():
        is_covered |= (partition == number) & (offset < end)
    return sightings.filter(pa.array(~is_covered))


def brand_lists(sightings: pa.Table) -> pa.RecordBatch:
    """Return one row per user, columns as schemas.USER_BRANDS, of sightings whose rows of a user stand together."""
    starts = np.flatnonzero(starts_group(sightings["user_id"].to_numpy()))
    seen_at = sightings["seen_at"].combine_chunks().cast(_BRAND.field("last_seen_at").type)
    names = _array(sightings["brand"]).cast(pa.string())
    brands = pa.StructArray.from_arrays([names, seen_at], fields=list(_BRAND))
    lists = pa.ListArray.from_arrays(pa.array([*starts, len(sightings)], pa.int32()), brands)
    user_ids = sightings["user_id"].combine_chunks().take(pa.array(starts))
    return pa.RecordBatch.from_arrays([user_ids, lists], ["user_id", "brands"])


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of all, their brands in one dictionary."""
    return pa.concat_tables(tables).combine_chunks()


def _array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _without_unused(brands: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return the same brands in a dictionary without those that no row has."""
    place = brands.indices.to_numpy()
    is_used = np.zeros(len(brands.dictionary), dtype=bool)
    is_used[place] = True
    new_place = (np.cumsum(is_used) - 1).astype(np.int32)
    return pa.DictionaryArray.from_arrays(new_place[place], brands.dictionary.filter(pa.array(is_used)))


def _places_in_order(brands: pa.DictionaryArray) -> tuple[Numbers, int]:
    """Return for each brand its place among those of the dictionary in order, and how many there are."""
    place: Numbers = np.empty(len(brands.dictionary), dtype=np.int64)
    place[pc.sort_indices(brands.dictionary).to_numpy()] = np.arange(len(place))
    return place[brands.indices.to_numpy()], len(place)


def _is_first(keys: Numbers) -> NDArray[np.bool_]:
    """Say of each key whether it is the first of its kind; a dictionary numbers the kinds as they come."""
    kind = pa.array(keys).dictionary_encode().indices.to_numpy()
    is_first: NDArray[np.bool_] = np.diff(np.maximum.accumulate(kind), prepend=-1) > 0
    return is_first


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
