"""Whether the engines agree: each answer of the batch bench has to be lambda-spark's, row by row."""

from collections.abc import Sequence

import duckdb

from bench.process import BenchError

_TREND = (
    "CAST(window_to AS DATE), CAST(rank AS BIGINT), product_id, brand, category_code, CAST(event_count AS BIGINT),"
    " CAST(user_count AS BIGINT), round(total_pct_increase, 6), is_new, round(trend_score, 9), round(growth_pct, 6),"
    " round(z, 6), confidence"
)
# step -> the columns that are compared; fractions to some digits, since their sums may differ in the last ones.
_COLUMNS = {
    "files": "event_time, event_type, product_id, category_id, category_code, brand, price, user_id, user_session",
    "activity": (
        "event_date, product_id, brand, category_code, view_count, cart_count, remove_count, purchase_count,"
        " event_count, user_count, last_price"
    ),
    "brands": "user_id, list_transform(brands, item -> (item.brand, epoch_us(item.last_seen_at)))",
    "windows": _TREND,
    "window": _TREND,
    "recommend": (
        "user_id, CAST(rank AS BIGINT), product_id, brand, CAST(trend_rank AS BIGINT), round(trend_score, 9),"
        " round(total_pct_increase, 6), CAST(brand_position AS BIGINT), epoch_us(brand_last_seen_at)"
    ),
}

# The number of rows, and the sum of their hashes: equal for the same rows in any order, and hardly ever else.
Digest = tuple[int, int]


def digest(step: str, files: Sequence[str], condition: str = "true") -> Digest:
    """Return what the rows of an answer, in Parquet files, come to."""
    connection = duckdb.connect(config={"memory_limit": "8GB"})
    connection.execute("SET TimeZone = 'UTC'")
    rows = f"read_parquet({list(files)}, hive_partitioning = true, union_by_name = true)"
    columns = f"SELECT hash({_COLUMNS[step]}) AS row FROM {rows} WHERE {condition}"
    count, total = connection.execute(f"SELECT count(*), coalesce(sum(row), 0) FROM ({columns})").fetchall()[0]
    return count, total


def check(step: str, right: Digest, found: Digest) -> None:
    """Raise BenchError where the answers differ."""
    if right != found:
        raise BenchError(f"The answers to {step!r} differ: {right[0]:,} rows are right, {found[0]:,} were found.")
