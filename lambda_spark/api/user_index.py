"""Everybody's recent brands in memory: a few arrays, so that millions fit, and one is found in microseconds.

Everybody's recent brands, of both views merged: loaded once, then kept up with the realtime view's log.

The merge is idempotent, so that what the speed layer drops in the meantime does no harm, and neither do rows that are
taken twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lambda_spark.delta import tables
from lambda_spark.delta.parquet_files import open_parquet, read_batches
from lambda_spark.delta.tables import RECENT_BRANDS, USER_BRANDS
from lambda_spark.history import merging
from lambda_spark.serving.snapshot import open_realtime_view
from lambda_spark.time_ranges import instant
from lambda_spark.trends.windows import INSTANT

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
    seen = pa.concat_tables([merging.SIGHTINGS.empty_table(), *parts]).combine_chunks().unify_dictionaries()
    return merging.brand_lists(merging.merge(seen.combine_chunks(), limit))


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
    return pa.Table.from_arrays(columns, schema=merging.SIGHTINGS)


_COLUMNS = ["user_id", "brands"]
_BRAND = pa.struct([("brand", pa.string()), ("last_seen_at", INSTANT)])

# So many users are kept as Python objects, some 2 KB each, until all is loaded again into arrays.
_MOST_CHANGED = 50_000


class UserIndex:
    """The lists at a version of `recent_brands`; those that changed since they were loaded take precedence."""

    def __init__(self, batch: UserLists, realtime: UserLists, version: int | None, batch_version: int | None) -> None:
        self.version, self.batch_version = version, batch_version
        # What a commit of `recent_brands` tells: how far the speed layer has the topic.
        self.lineage: Mapping[str, Any] | None = None
        self._batch, self._realtime = batch, realtime
        self._changed: dict[int, list[Seen]] = {}
        self._new = 0
        # The newest time in a list of the realtime view.
        self.newest_at = _newest(realtime.seen_at)

    def find(self, user_id: int) -> list[Seen] | None:
        """Return the recent brands of a user, newest first; None where none is known."""
        return self._changed.get(user_id) or self._realtime.find(user_id) or self._batch.find(user_id)

    def recent_users(self, count: int) -> list[int]:
        """Return so many users, those first whom the speed layer has told of last."""
        found = dict.fromkeys(reversed(self._changed))
        for lists in (self._realtime, self._batch):
            found |= dict.fromkeys(lists.user_ids[:count].tolist())
        return list(found)[:count]

    def realtime_count(self) -> int:
        """Return the number of users that the realtime view has a list of."""
        return len(self._realtime.user_ids) + self._new

    def is_full(self) -> bool:
        """Say whether so many users have changed that the index is better loaded again."""
        return len(self._changed) > _MOST_CHANGED

    def take(self, rows: pa.Table, version: int, limit: int) -> None:
        """Merge the rows that a version of `recent_brands` has added."""
        users = pc.unique(rows["user_id"]).to_pylist()
        known = {user_id: seen for user_id in users if (seen := self.find(user_id))}
        lists = lists_of([merged([*rows.to_batches(), _batch_of(known)], limit)], limit)
        for user_id in users:
            self._new += user_id not in self._changed and self._realtime.find(user_id) is None
            # Taken out first, so that the newest stand last.
            self._changed.pop(user_id, None)
            self._changed[user_id] = lists.find(user_id) or []
        self.newest_at = max(filter(None, (self.newest_at, _newest(lists.seen_at))), default=None)
        self.version = version


def load_index(root: str, limit: int) -> UserIndex:
    """Load the present views of recent brands; there may be none of them yet."""
    # Before the batch view: what the speed layer drops meanwhile is in that.
    view = open_realtime_view(root)
    batch_version = tables.find_version(root, USER_BRANDS)
    if view is None:
        return UserIndex(_lists(root, batch_version, limit), lists_of([], limit), None, batch_version)
    log = tables.open_dataset(root, RECENT_BRANDS, view.version)
    changed = list(log.to_batches(columns=_COLUMNS))
    if batch_version is not None:
        users = pc.unique(pa.chunked_array([batch["user_id"] for batch in changed], pa.int64()))
        stored = tables.open_dataset(root, USER_BRANDS, batch_version)
        changed += stored.to_batches(columns=_COLUMNS, filter=pc.field("user_id").isin(users))
    realtime = lists_of([merged(changed, limit)], limit)
    index = UserIndex(_lists(root, batch_version, limit), realtime, view.version, batch_version)
    index.lineage = tables.lineage_of(root, RECENT_BRANDS, view.version)
    return index


def follow(root: str, index: UserIndex, limit: int) -> None:
    """Take what has been committed to `recent_brands` since."""
    while index.version is not None and (commit := tables.commit_of(root, RECENT_BRANDS, index.version + 1)):
        paths = tables.added_by(root, RECENT_BRANDS, commit)
        rows = open_parquet(paths).to_table(_COLUMNS) if paths else _batch_of({}).schema.empty_table()
        index.take(rows, index.version + 1, limit)
        index.lineage = tables.commit_lineage(commit) or index.lineage


def _newest(seen_at: NDArray[np.int64]) -> datetime | None:
    return instant(int(seen_at.max())) if len(seen_at) else None


def _lists(root: str, version: int | None, limit: int) -> UserLists:
    if version is None:
        return lists_of([], limit)
    return lists_of(read_batches(tables.paths_of(root, USER_BRANDS, version), _COLUMNS), limit)


def _batch_of(lists: Mapping[int, Sequence[Seen]]) -> pa.RecordBatch:
    """Return one row of (user_id, brands) per user."""
    seen = [each for user in lists.values() for each in user]
    names, times = (_column(seen, place) for place in (0, 1))
    items = pa.StructArray.from_arrays([pa.array(names, pa.string()), pa.array(times, INSTANT)], fields=list(_BRAND))
    offsets = [0]
    for user in lists.values():
        offsets.append(offsets[-1] + len(user))
    brands = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)
    return pa.record_batch({"user_id": pa.array(list(lists), pa.int64()), "brands": brands})


def _column(seen: Iterable[Seen], place: int) -> list[object]:
    return [each[place] for each in seen]
