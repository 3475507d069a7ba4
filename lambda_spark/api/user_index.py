"""Everybody's recent brands, of both views merged: loaded once, then kept up with the realtime view's log.

The merge is idempotent, so that what the speed layer drops in the meantime does no harm, and neither do rows that are
taken twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark import tables
from lambda_spark.api.user_lists import Seen, UserLists, lists_of, merged
from lambda_spark.known_events import open_live
from lambda_spark.parquet_files import open_parquet, read_batches
from lambda_spark.tables import RECENT_BRANDS, USER_BRANDS
from lambda_spark.window_counts import INSTANT

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
        self.version = version


def load_index(root: str, limit: int) -> UserIndex:
    """Load the present views of recent brands; there may be none of them yet."""
    # Before the batch view: what the speed layer drops meanwhile is in that.
    live = open_live(root)
    batch_version = tables.find_version(root, USER_BRANDS)
    if live is None:
        return UserIndex(_lists(root, batch_version, limit), lists_of([], limit), None, batch_version)
    log = tables.open_dataset(root, RECENT_BRANDS, live.log_version)
    changed = list(log.to_batches(columns=_COLUMNS))
    if batch_version is not None:
        users = pc.unique(pa.chunked_array([batch["user_id"] for batch in changed], pa.int64()))
        stored = tables.open_dataset(root, USER_BRANDS, batch_version)
        changed += stored.to_batches(columns=_COLUMNS, filter=pc.field("user_id").isin(users))
    realtime = lists_of([merged(changed, limit)], limit)
    index = UserIndex(_lists(root, batch_version, limit), realtime, live.log_version, batch_version)
    index.lineage = tables.lineage_of(root, RECENT_BRANDS, live.log_version)
    return index


def follow(root: str, index: UserIndex, limit: int) -> None:
    """Take what has been committed to `recent_brands` since."""
    while index.version is not None and (commit := tables.commit_of(root, RECENT_BRANDS, index.version + 1)):
        paths = tables.added_by(root, RECENT_BRANDS, commit)
        rows = open_parquet(paths).to_table(_COLUMNS) if paths else _batch_of({}).schema.empty_table()
        index.take(rows, index.version + 1, limit)
        index.lineage = tables.told_by(commit) or index.lineage


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
