"""Everybody's recent brands in memory: a few arrays, so that millions fit, and one is found in microseconds."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lambda_spark import sightings

# A brand that a user was seen with, and when, in microseconds since 1970.
Seen = tuple[str, int]


@dataclass(frozen=True)
class UserLists:
    """The lists of users, whose ids are in order: `first` and `count` say where the brands of each stand.

    `brand` holds places in `names`.
    """

    user_ids: NDArray[np.int64]
    first: NDArray[np.int64]
    count: NDArray[np.int32]
    brand: NDArray[np.int32]
    seen_at: NDArray[np.int64]
    names: list[str]

    def find(self, user_id: int) -> list[Seen] | None:
        """Return the brands of a user, newest first; None where the user is not here."""
        place = int(self.user_ids.searchsorted(user_id))
        if place == len(self.user_ids) or self.user_ids[place] != user_id:
            return None
        start = self.first[place]
        here = slice(start, start + self.count[place])
        names = map(self.names.__getitem__, self.brand[here].tolist())
        return list(zip(names, self.seen_at[here].tolist(), strict=True))


def lists_of(batches: Iterable[pa.RecordBatch], limit: int) -> UserLists:
    """Take rows of (user_id, brands), one per user, columns as schemas.USER_BRANDS; cut to the limit."""
    place_of: dict[str, int] = {}
    columns: list[NDArray[Any]] = [np.zeros(0, kind) for kind in _KINDS]
    for batch in batches:
        for column, part in zip(columns, _part(batch, place_of, limit), strict=True):
            _append(column, part)
    user_ids, count, brand, seen_at = columns
    order = np.argsort(user_ids, kind="stable")
    first = np.cumsum(count, dtype=np.int64) - count
    return UserLists(user_ids[order], first[order], count[order], brand, seen_at, list(place_of))


def merged(batches: Iterable[pa.RecordBatch], limit: int) -> pa.RecordBatch:
    """Merge rows of (user_id, brands), several per user, by the one rule. One row per user_id."""
    parts = [_sightings(batch) for batch in batches if len(batch)]
    seen = pa.concat_tables([sightings.SIGHTINGS.empty_table(), *parts]).combine_chunks().unify_dictionaries()
    return sightings.brand_lists(sightings.merge(seen.combine_chunks(), limit))


# Of the user, the number of brands, the brand, and when it was seen.
_KINDS = (np.int64, np.int32, np.int32, np.int64)


def _append(column: NDArray[Any], part: NDArray[Any]) -> None:
    """Make the column longer where it is: put together of its parts it would need the room twice."""
    start = len(column)
    column.resize(start + len(part), refcheck=False)
    column[start:] = part


def _part(batch: pa.RecordBatch, place_of: dict[str, int], limit: int) -> tuple[NDArray[Any], ...]:
    """Return the arrays of a batch; `place_of` learns the names that are new."""
    lists = pc.list_slice(batch["brands"], 0, limit)
    items = pc.list_flatten(lists)
    names = items.field("brand").dictionary_encode()
    places = [place_of.setdefault(name, len(place_of)) for name in names.dictionary.to_pylist()]
    brand = np.array(places, np.int32)[names.indices.to_numpy()] if places else np.zeros(0, np.int32)
    seen_at = items.field("last_seen_at").cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    count = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int32)
    return batch["user_id"].to_numpy(), count, brand, seen_at


def _sightings(batch: pa.RecordBatch) -> pa.Table:
    lists = batch["brands"]
    items = pc.list_flatten(lists)
    user_id = batch["user_id"].take(pc.list_parent_indices(lists))
    told = pa.array(np.zeros(len(user_id), np.int64))
    seen_at = items.field("last_seen_at").cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    columns = [user_id, items.field("brand").dictionary_encode(), seen_at, told.cast(pa.int32()), told]
    return pa.Table.from_arrays(columns, schema=sightings.SIGHTINGS)
