"""Every user's recent brands in memory, both views merged: loaded once, then updated from the realtime view's log.

A few NumPy arrays instead of Python objects, so that millions of users fit and one is found in microseconds. The merge
is idempotent: rows that are merged twice, or that the speed layer drops meanwhile, change nothing.
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

_COLUMNS = ["user_id", "brands"]
_BRAND = pa.struct([("brand", pa.string()), ("last_seen_at", INSTANT)])

# The types of a user's id, its number of brands, a brand's index, and when it was seen.
_DTYPES = (np.int64, np.int32, np.int32, np.int64)

# The users with new lists are Python objects of some 2 KB each; above this number all is loaded into arrays again.
_MOST_CHANGED = 50_000

# A brand, and when the user was last seen with it, in microseconds since 1970.
SeenBrand = tuple[str, int]


@dataclass(frozen=True)
class UserLists:
    """The brands of users, newest first; the brands of user i start at `first[i]`, and there are `count[i]` of them.

    `user_ids` are sorted; `brand` has indices into `names`, `seen_at` microseconds since 1970.
    """

    user_ids: NDArray[np.int64]
    first: NDArray[np.int64]
    count: NDArray[np.int32]
    brand: NDArray[np.int32]
    seen_at: NDArray[np.int64]
    names: list[str]

    def find(self, user_id: int) -> list[SeenBrand] | None:
        """Return the brands of a user, newest first; None if the user has no list."""
        index = int(self.user_ids.searchsorted(user_id))
        if index == len(self.user_ids) or self.user_ids[index] != user_id:
            return None
        start = self.first[index]
        items = slice(start, start + self.count[index])
        names = map(self.names.__getitem__, self.brand[items].tolist())
        return list(zip(names, self.seen_at[items].tolist(), strict=True))


class UserIndex:
    """The lists of both views at a version of `recent_brands`; users that changed since loading take precedence."""

    def __init__(self, batch: UserLists, realtime: UserLists, version: int | None, batch_version: int | None) -> None:
        self.version, self.batch_version = version, batch_version
        # The lineage of that version of `recent_brands`, which contains the offsets that the speed layer has reached.
        self.lineage: Mapping[str, Any] | None = None
        self._batch, self._realtime = batch, realtime
        self._changed: dict[int, list[SeenBrand]] = {}
        self._added_users = 0
        # The newest time in a list of the realtime view.
        self.newest_at = _newest(realtime.seen_at)

    def find(self, user_id: int) -> list[SeenBrand] | None:
        """Return the recent brands of a user, newest first; None if there are none."""
        return self._changed.get(user_id) or self._realtime.find(user_id) or self._batch.find(user_id)

    def recent_users(self, count: int) -> list[int]:
        """Return at most `count` users, the most recently changed by the speed layer first."""
        found = dict.fromkeys(reversed(self._changed))
        for lists in (self._realtime, self._batch):
            found |= dict.fromkeys(lists.user_ids[:count].tolist())
        return list(found)[:count]

    def realtime_count(self) -> int:
        """Return the number of users in the realtime view."""
        return len(self._realtime.user_ids) + self._added_users

    def needs_reload(self) -> bool:
        """Return True if so many users have changed that the index should be loaded again."""
        return len(self._changed) > _MOST_CHANGED

    def merge(self, rows: pa.Table, version: int, limit: int) -> None:
        """Merge the rows that a version of `recent_brands` has added."""
        users = pc.unique(rows["user_id"]).to_pylist()
        present = {user_id: brands for user_id in users if (brands := self.find(user_id))}
        lists = user_lists([merge_lists([*rows.to_batches(), _batch_of(present)], limit)], limit)
        for user_id in users:
            self._added_users += user_id not in self._changed and self._realtime.find(user_id) is None
            # Removed first, so that the most recently changed users are last.
            self._changed.pop(user_id, None)
            self._changed[user_id] = lists.find(user_id) or []
        self.newest_at = max(filter(None, (self.newest_at, _newest(lists.seen_at))), default=None)
        self.version = version


def load_index(root: str, limit: int) -> UserIndex:
    """Load the present views of recent brands; either may not exist yet."""
    # Opened before the batch view, which contains what the speed layer drops meanwhile.
    view = open_realtime_view(root)
    batch_version = tables.find_version(root, USER_BRANDS)
    if view is None:
        return UserIndex(_batch_lists(root, batch_version, limit), user_lists([], limit), None, batch_version)
    log = tables.open_dataset(root, RECENT_BRANDS, view.version)
    changed = list(log.to_batches(columns=_COLUMNS))
    if batch_version is not None:
        users = pc.unique(pa.chunked_array([batch["user_id"] for batch in changed], pa.int64()))
        stored = tables.open_dataset(root, USER_BRANDS, batch_version)
        changed += stored.to_batches(columns=_COLUMNS, filter=pc.field("user_id").isin(users))
    realtime = user_lists([merge_lists(changed, limit)], limit)
    index = UserIndex(_batch_lists(root, batch_version, limit), realtime, view.version, batch_version)
    index.lineage = tables.lineage_of(root, RECENT_BRANDS, view.version)
    return index


def follow(root: str, index: UserIndex, limit: int) -> None:
    """Merge the commits to `recent_brands` since the version of the index into it."""
    while index.version is not None and (commit := tables.commit_of(root, RECENT_BRANDS, index.version + 1)):
        paths = tables.added_by(root, RECENT_BRANDS, commit)
        rows = open_parquet(paths).to_table(_COLUMNS) if paths else _batch_of({}).schema.empty_table()
        index.merge(rows, index.version + 1, limit)
        index.lineage = tables.commit_lineage(commit) or index.lineage


def user_lists(batches: Iterable[pa.RecordBatch], limit: int) -> UserLists:
    """Build the lists, cut to the limit, from rows of (user_id, brands), one per user, as schemas.USER_BRANDS."""
    brand_indices: dict[str, int] = {}
    columns: list[NDArray[Any]] = [np.zeros(0, dtype) for dtype in _DTYPES]
    for batch in batches:
        for column, part in zip(columns, _columns_of(batch, brand_indices, limit), strict=True):
            _append(column, part)
    user_ids, count, brand, seen_at = columns
    order = np.argsort(user_ids, kind="stable")
    first = np.cumsum(count, dtype=np.int64) - count
    return UserLists(user_ids[order], first[order], count[order], brand, seen_at, list(brand_indices))


def merge_lists(batches: Iterable[pa.RecordBatch], limit: int) -> pa.RecordBatch:
    """Merge rows of (user_id, brands), several per user, by the one merge rule. One row per user_id."""
    parts = [_sightings(batch) for batch in batches if len(batch)]
    sightings = pa.concat_tables([merging.SIGHTINGS.empty_table(), *parts]).combine_chunks().unify_dictionaries()
    return merging.brand_lists(merging.merge(sightings.combine_chunks(), limit))


def _append(column: NDArray[Any], part: NDArray[Any]) -> None:
    """Append in place: concatenating all parts at the end would take twice the memory."""
    start = len(column)
    column.resize(start + len(part), refcheck=False)
    column[start:] = part


def _columns_of(batch: pa.RecordBatch, brand_indices: dict[str, int], limit: int) -> tuple[NDArray[Any], ...]:
    """Return the arrays of a batch, with types as _DTYPES; adds new brands to `brand_indices`."""
    lists = pc.list_slice(batch["brands"], 0, limit)
    items = pc.list_flatten(lists)
    names = items.field("brand").dictionary_encode()
    indices = [brand_indices.setdefault(name, len(brand_indices)) for name in names.dictionary.to_pylist()]
    brand = np.array(indices, np.int32)[names.indices.to_numpy()] if indices else np.zeros(0, np.int32)
    count = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int32)
    return batch["user_id"].to_numpy(), count, brand, _seen_at(items).to_numpy()


def _sightings(batch: pa.RecordBatch) -> pa.Table:
    """Return the brands of a batch as merging.SIGHTINGS; where they came from makes no difference here."""
    lists = batch["brands"]
    items = pc.list_flatten(lists)
    user_id = batch["user_id"].take(pc.list_parent_indices(lists))
    zeros = pa.array(np.zeros(len(user_id), np.int64))
    columns = [user_id, items.field("brand").dictionary_encode(), _seen_at(items), zeros.cast(pa.int32()), zeros]
    return pa.Table.from_arrays(columns, schema=merging.SIGHTINGS)


def _seen_at(items: pa.StructArray) -> pa.Array:
    return items.field("last_seen_at").cast(pa.timestamp("us", "UTC")).cast(pa.int64())


def _newest(seen_at: NDArray[np.int64]) -> datetime | None:
    return instant(int(seen_at.max())) if len(seen_at) else None


def _batch_lists(root: str, version: int | None, limit: int) -> UserLists:
    if version is None:
        return user_lists([], limit)
    return user_lists(read_batches(tables.paths_of(root, USER_BRANDS, version), _COLUMNS), limit)


def _batch_of(lists: Mapping[int, Sequence[SeenBrand]]) -> pa.RecordBatch:
    """Return one row of (user_id, brands) per user."""
    brands = [brand for user in lists.values() for brand in user]
    names, times = ([each[field] for each in brands] for field in (0, 1))
    items = pa.StructArray.from_arrays([pa.array(names, pa.string()), pa.array(times, INSTANT)], fields=list(_BRAND))
    offsets = np.cumsum([0, *map(len, lists.values())], dtype=np.int32)
    column = pa.ListArray.from_arrays(pa.array(offsets), items)
    return pa.record_batch({"user_id": pa.array(list(lists), pa.int64()), "brands": column})
