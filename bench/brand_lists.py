"""Users' recent brands for comparison: the true lists of an event file, the answers of a run, the merged views.

The views are read without the project's own merge, so that a mistake in it shows.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

# user_id -> {brand: event time}, both as the texts of the event file
Lists = dict[str, dict[str, str]]

# brand -> microseconds since 1970, newest first
Brands = dict[str, int]

SAMPLE = 1_000
_LIMIT = 50
_POSITION = "row_number() OVER (PARTITION BY user_id ORDER BY seen_at DESC, brand)"

# Integers instead of timestamps: they convert to Python values many times as fast.
_BRANDS = pa.list_(pa.struct([("brand", pa.string()), ("last_seen_at", pa.int64())]))


def true_lists(file: Path) -> Lists:
    """Return the lists of a sample of users from the event file, including the users with the most brands."""
    connection = duckdb.connect()
    connection.read_csv(file, all_varchar=True).create_view("events")
    connection.execute(
        f"""
        CREATE TABLE seen AS
        SELECT user_id, lower(trim(brand)) AS brand, max(event_time) AS seen_at
        FROM events WHERE lower(trim(brand)) NOT IN ('', 'unknown') GROUP BY ALL;
        CREATE TABLE brand_counts AS SELECT user_id, count(*) AS brands FROM seen GROUP BY user_id;
        CREATE TABLE sample AS
        (SELECT user_id FROM brand_counts ORDER BY brands DESC, user_id LIMIT {SAMPLE // 10})
        UNION (SELECT user_id FROM brand_counts ORDER BY hash(user_id) LIMIT {SAMPLE});
        """
    )
    return _by_user(connection.sql("SELECT user_id, brand, seen_at FROM seen SEMI JOIN sample USING (user_id)"))


def stored_lists(table: Path, users: Sequence[str]) -> Lists:
    """Return the lists of some users from a Delta table of user_id and brands, with its rows merged."""
    wanted = [int(user) for user in users]
    rows = DeltaTable(table).to_pyarrow_table(columns=["user_id", "brands"], filters=[("user_id", "in", wanted)])
    assert rows is not None
    return _by_user(
        duckdb.sql(
            """
            SELECT CAST(user_id AS VARCHAR) AS user_id, item.brand AS brand,
                strftime(max(item.last_seen_at AT TIME ZONE 'UTC'), '%Y-%m-%d %H:%M:%S UTC') AS seen_at
            FROM (SELECT user_id, unnest(brands) AS item FROM rows) GROUP BY ALL
            """
        )
    )


def answered_lists(folder: Path) -> Lists:
    """Return the lists that the workers of an alternative have written, each for different users."""
    lists: Lists = {}
    for file in folder.glob("answer-*.json"):
        lists |= json.loads(file.read_text())
    return lists


def agreement(truth: Lists, answered: Mapping[str, Mapping[str, str]]) -> float:
    """Return the percentage of the users whose list is the true one."""
    return 100 * sum(answered.get(user) == brands for user, brands in truth.items()) / len(truth)


class MergedBrands:
    """The recent brands of all users: the batch view when it was opened, and the rows of the realtime view since."""

    def __init__(self, root: str) -> None:
        view = DeltaTable(f"{root}/user_brands").to_pyarrow_table(columns=["user_id", "brands"]).sort_by("user_id")
        self._user_ids, self._lists = view["user_id"].to_numpy(), view["brands"].cast(_BRANDS).combine_chunks()
        self._log = DeltaTable(f"{root}/recent_brands")
        self._files = set(self._log.file_uris())
        self._merged: dict[int, Brands] = {}

    def refresh(self) -> Iterator[tuple[int, Brands]]:
        """Merge the rows added to `recent_brands` since the last call; yield the new list of each of their users."""
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
        row = int(np.searchsorted(self._user_ids, user_id))
        is_known = row < len(self._user_ids) and self._user_ids[row] == user_id
        return _as_brands(self._lists[row].as_py()) if is_known else {}


def merge(one: Brands, other: Brands) -> Brands:
    """Return the 50 most recent brands of both, newest first, ties by name."""
    newest = {brand: max(one.get(brand, seen), other.get(brand, seen)) for brand, seen in {**one, **other}.items()}
    return dict(sorted(newest.items(), key=lambda item: (-item[1], item[0]))[:_LIMIT])


def _by_user(seen: duckdb.DuckDBPyRelation) -> Lists:
    """Return the 50 newest brands of each user from rows of (user_id, brand, seen_at)."""
    lists: Lists = {}
    newest = seen.project(f"*, {_POSITION} AS position").filter(f"position <= {_LIMIT}")
    for user_id, brand, seen_at, _ in newest.fetchall():
        lists.setdefault(user_id, {})[brand] = seen_at
    return lists


def _as_lists(rows: pa.Table) -> tuple[list[int], list[list[dict[str, Any]]]]:
    return rows["user_id"].to_pylist(), rows["brands"].cast(_BRANDS).to_pylist()


def _as_brands(items: list[dict[str, Any]]) -> Brands:
    return {item["brand"]: item["last_seen_at"] for item in items}
