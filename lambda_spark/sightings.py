"""Brands that users were seen with, as Arrow tables: merged, cut to the most recent, and packed for the state.

One row per (user_id, brand): the newest time, in microseconds since 1970, and the message that told it. The rows of a
user stand together, newest brand first.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SIGHTINGS = pa.schema(
    [
        ("user_id", pa.int64()),
        ("brand", pa.string()),
        ("seen_at", pa.int64()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)

_BRAND = pa.struct([("brand", pa.string()), ("last_seen_at", pa.timestamp("us", tz="UTC"))])
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")

Numbers = NDArray[np.int64]


def pack(sightings: pa.Table | pa.RecordBatch, *, compressed: bool = False) -> bytes:
    """Pack sightings into bytes: Arrow's own stream format. Compressing takes longer and is for what will be kept."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, SIGHTINGS, options=_COMPRESSED if compressed else None) as stream:
        stream.write(sightings)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack(packed: Sequence[bytes]) -> pa.Table:
    """Return the sightings of all that was packed, one after another."""
    tables = [pa.ipc.open_stream(each).read_all() for each in packed]
    return pa.concat_tables([SIGHTINGS.empty_table(), *tables]).combine_chunks()


def merge(sightings: pa.Table, limit: int | None = None) -> pa.Table:
    """Keep, per user and brand, the newest time, and per user the `limit` most recent brands (or all), ties by brand.

    Merging is commutative, associative and idempotent: neither order nor repetition can change the lists.
    """
    user, seen = (sightings[name].to_numpy() for name in ("user_id", "seen_at"))
    brand = _places_in_order(sightings["brand"])
    told_by = (-sightings[name].to_numpy() for name in ("offset", "partition"))
    newest_first = np.lexsort((*told_by, -seen, brand, user))
    kept = newest_first[_is_new(user[newest_first], brand[newest_first])]
    kept = kept[np.lexsort((brand[kept], -seen[kept], user[kept]))]
    if limit is not None:
        starts = np.flatnonzero(_is_new(user[kept]))
        position = np.arange(len(kept)) - np.repeat(starts, np.diff(starts, append=len(kept)))
        kept = kept[position < limit]
    return sightings.take(pa.array(kept))


def update(known: pa.Table, new: pa.Table, limit: int) -> tuple[pa.Table, pa.Table]:
    """Merge what is new into what is known; return all sightings, and those of the users with something new."""
    touched = pc.is_in(known["user_id"], value_set=pc.unique(new["user_id"]))
    merged = merge(pa.concat_tables([known.filter(touched), new]), limit)
    return pa.concat_tables([known.filter(pc.invert(touched)), merged]).combine_chunks(), merged


def drop_covered(sightings: pa.Table, covered: Mapping[int, int]) -> pa.Table:
    """Drop what messages below an offset told, given per partition."""
    is_covered = np.zeros(len(sightings), dtype=bool)
    partition, offset = (sightings[name].to_numpy() for name in ("partition", "offset"))
    for number, end in covered.items():
        is_covered |= (partition == number) & (offset < end)
    return sightings.filter(pa.array(~is_covered))


def brand_lists(sightings: pa.Table) -> pa.RecordBatch:
    """Return one row per user, columns as schemas.USER_BRANDS, of sightings whose rows of a user stand together."""
    starts = np.flatnonzero(_is_new(sightings["user_id"].to_numpy()))
    seen_at = sightings["seen_at"].combine_chunks().cast(_BRAND.field("last_seen_at").type)
    brands = pa.StructArray.from_arrays([sightings["brand"].combine_chunks(), seen_at], fields=list(_BRAND))
    lists = pa.ListArray.from_arrays(pa.array([*starts, len(sightings)], pa.int32()), brands)
    user_ids = sightings["user_id"].combine_chunks().take(pa.array(starts))
    return pa.RecordBatch.from_arrays([user_ids, lists], ["user_id", "brands"])


def _places_in_order(texts: pa.ChunkedArray) -> Numbers:
    """Return for each text its place among the distinct ones in order: numbers sort faster than texts."""
    encoded = texts.combine_chunks().dictionary_encode()
    place: Numbers = np.empty(len(encoded.dictionary), dtype=np.int64)
    place[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(place))
    places: Numbers = place[encoded.indices.to_numpy()]
    return places


def _is_new(*columns: Numbers) -> NDArray[np.bool_]:
    """Say of each row of sorted columns whether it differs from the one before."""
    differs = np.ones(len(columns[0]), dtype=bool)
    differs[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    return differs
