"""The keys of the state: users are spread over shards, and what a shard's users were seen with is packed together."""

import numpy as np
import pyarrow as pa

from lambda_spark import sightings

PACKED = "shard int, packed binary"


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
