"""A reader of the merged brands without Spark: the batch view at its start, and what the realtime view gets since."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

# brand -> microseconds since 1970, newest first
Brands = dict[str, int]

_LIMIT = 50
# Whole numbers instead of timestamps: they become Python's own many times as fast.
_BRANDS = pa.list_(pa.struct([("brand", pa.string()), ("last_seen_at", pa.int64())]))


class MergedBrands:
    """Everybody's recent brands, brought up to date by `refresh`."""

    def __init__(self, root: str) -> None:
        view = DeltaTable(f"{root}/user_brands").to_pyarrow_table(columns=["user_id", "brands"]).sort_by("user_id")
        self._user_ids, self._lists = view["user_id"].to_numpy(), view["brands"].cast(_BRANDS).combine_chunks()
        self._log = DeltaTable(f"{root}/recent_brands")
        self._files = set(self._log.file_uris())
        self._merged: dict[int, Brands] = {}

    def refresh(self) -> Iterator[tuple[int, Brands]]:
        """Merge what has been added to `recent_brands` since the last time; yield each user's list with it."""
        self._log.update_incremental()
        files = set(self._log.file_uris())
        for file in sorted(files - self._files):
            rows = pq.read_table(file, columns=["user_id", "brands"], partitioning=None)
            for user_id, items in zip(*_as_lists(rows), strict=True):
                self._merged[user_id] = merge(self.brands_of(user_id), _as_brands(items))
                yield user_id, self._merged[user_id]
        self._files = files

    def brands_of(self, user_id: int) -> Brands:
        """Return the user's list as of the last refresh."""
        if user_id in self._merged:
            return self._merged[user_id]
        place = int(np.searchsorted(self._user_ids, user_id))
        is_known = place < len(self._user_ids) and self._user_ids[place] == user_id
        return _as_brands(self._lists[place].as_py()) if is_known else {}


def merge(one: Brands, other: Brands) -> Brands:
    """Return the 50 most recent brands of both, newest first, ties by name."""
    newest = {brand: max(one.get(brand, seen), other.get(brand, seen)) for brand, seen in {**one, **other}.items()}
    return dict(sorted(newest.items(), key=lambda item: (-item[1], item[0]))[:_LIMIT])


def _as_lists(rows: pa.Table) -> tuple[list[int], list[list[dict[str, Any]]]]:
    return rows["user_id"].to_pylist(), rows["brands"].cast(_BRANDS).to_pylist()


def _as_brands(items: list[dict[str, Any]]) -> Brands:
    return {item["brand"]: item["last_seen_at"] for item in items}
