"""Who knows what of the users' recent brands: the truth, computed from the event file, and what a run has answered."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
from deltalake import DeltaTable

# user_id -> {brand: event time}, both as the texts of the event file
Lists = dict[str, dict[str, str]]

SAMPLE = 1_000
_LIMIT = 50
_PLACE = "row_number() OVER (PARTITION BY user_id ORDER BY seen_at DESC, brand)"


def true_lists(file: Path) -> Lists:
    """Compute the lists of a sample of users from the event file, those with the most brands among them."""
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
    """Read the lists of some users from a Delta table with the columns user_id and brands, merging its rows."""
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
    """Read the lists that the workers of an alternative have written, each of users of its own."""
    lists: Lists = {}
    for file in folder.glob("answer-*.json"):
        lists |= json.loads(file.read_text())
    return lists


def agreement(truth: Lists, answered: Mapping[str, Mapping[str, str]]) -> float:
    """Return the share of the users whose list is the true one, in per cent."""
    return 100 * sum(answered.get(user) == brands for user, brands in truth.items()) / len(truth)


def _by_user(seen: duckdb.DuckDBPyRelation) -> Lists:
    """Keep of (user_id, brand, seen_at) the 50 newest of each user."""
    lists: Lists = {}
    newest = seen.project(f"*, {_PLACE} AS place").filter(f"place <= {_LIMIT}")
    for user_id, brand, seen_at, _ in newest.fetchall():
        lists.setdefault(user_id, {})[brand] = seen_at
    return lists
