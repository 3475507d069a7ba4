"""`batch_duckdb.py STEP FOLDER`: a step of the batch layer in DuckDB, on the same files."""

from functools import partial
from pathlib import Path

import deltalake
import duckdb
from common import Inputs, answer_file, run_step

_BRAND = "nullif(nullif(lower(trim(brand)), ''), 'unknown')"
_DAYS, _RECENT, _TOP = 7, 3, 1_000
_TOP_TRENDS, _PER_USER, _PER_BRAND = 200, 10, 3

_COUNTS = ", ".join(
    f"count(*) FILTER (event_type = '{kind}') AS {column}"
    for kind, column in {
        "view": "view_count",
        "cart": "cart_count",
        "remove_from_cart": "remove_count",
        "purchase": "purchase_count",
    }.items()
)

_EVENTS = """
SELECT CAST(replace(event_time, ' UTC', '') AS TIMESTAMP) AT TIME ZONE 'UTC' AS event_time, event_type,
    CAST(product_id AS BIGINT) AS product_id, CAST(category_id AS BIGINT) AS category_id, category_code, brand,
    CAST(price AS DOUBLE) AS price, CAST(user_id AS BIGINT) AS user_id, user_session,
    CAST(left(event_time, 10) AS DATE) AS event_date
FROM month
"""

_ACTIVITY = f"""
SELECT event_date, product_id, max_by(brand, (event_time, brand)) FILTER (brand IS NOT NULL) AS brand,
    max_by(category_code, (event_time, category_code)) FILTER (category_code IS NOT NULL) AS category_code,
    {_COUNTS}, count(*) AS event_count, count(DISTINCT user_id) AS user_count,
    max_by(price, (event_time, price)) FILTER (price IS NOT NULL) AS last_price
FROM (SELECT * REPLACE ({_BRAND} AS brand) FROM events) GROUP BY event_date, product_id
"""

_BRANDS = f"""
SELECT user_id, list_transform(
    list_sort(list({{age: -last_seen_at, brand: brand}}))[:50],
    item -> {{brand: item.brand, last_seen_at: make_timestamptz(-item.age)}}
) AS brands FROM (
    SELECT user_id, {_BRAND} AS brand, epoch_us(max(event_time)) AS last_seen_at FROM events
    WHERE USER_PART GROUP BY ALL
) WHERE brand IS NOT NULL GROUP BY user_id
"""

_BUCKETS = ", ".join(
    f"coalesce(sum({count}) FILTER (i = {i}), 0.0) AS {letter}{i}"
    for letter, count in (("c", "event_count"), ("u", "user_count"))
    for i in range(_DAYS)
)
_ADJUSTED = ", ".join(f"u{i} / level[{i + 1}]" for i in range(_DAYS))
_WINDOWS = f"""
WITH windows AS (SELECT DISTINCT event_date - {_DAYS - 1} AS first FROM product_activity WINDOW_CONDITION),
in_windows AS (
    SELECT first, event_date - first AS i, product_id, event_count, user_count, brand, category_code
    FROM product_activity JOIN windows ON event_date BETWEEN first AND first + {_DAYS - 1}
),
shop AS (
    SELECT first, list(total / mean ORDER BY i) AS level, least(greatest(any_value(mean) / 1000, 1), 10) AS a FROM (
        SELECT first, i, sum(user_count) AS total, avg(sum(user_count)) OVER (PARTITION BY first) AS mean
        FROM in_windows GROUP BY first, i
    ) GROUP BY first
),
products AS (
    SELECT first, product_id, sum(event_count) AS event_count, sum(user_count) AS user_count,
        max(user_count) AS most_users, {_BUCKETS},
        max_by(brand, i) FILTER (brand IS NOT NULL) AS brand,
        max_by(category_code, i) FILTER (category_code IS NOT NULL) AS category_code
    FROM in_windows GROUP BY first, product_id
),
adjusted AS (
    SELECT *, [{_ADJUSTED}] AS adj FROM products JOIN shop USING (first)
    WHERE user_count >= 8 * a AND most_users > 1
),
scored AS (
    SELECT *, list_sum(adj[{_DAYS - _RECENT + 1}:]) AS r, list_sum(adj[:{_DAYS - _RECENT}]) AS b,
        {_RECENT} AS h, {_DAYS - _RECENT} AS m, list_avg(adj) AS mean,
        (list_var_samp(adj) - mean) / (mean * mean) AS dispersion, ln((r / h + a) / (b / m + a)) AS trend_score
    FROM adjusted
),
judged AS (
    SELECT *, greatest(median(dispersion) OVER (PARTITION BY first), 0) AS phi, h / m * b AS e,
        (r - e) / sqrt(r + (h / m) * (h / m) * b + 1 + phi * (r * r / h + e * e / m)) AS z
    FROM scored
)
SELECT first AS window_from, first + {_DAYS} AS window_to,
    row_number() OVER (PARTITION BY first ORDER BY trend_score DESC, user_count DESC, product_id) AS rank,
    product_id, brand, category_code, [{", ".join(f"c{i}" for i in range(_DAYS))}] AS buckets, event_count, user_count,
    CASE WHEN c0 > 0 THEN 100 * (c{_DAYS - 1} - c0) / c0 END AS total_pct_increase, c0 = 0 AS is_new, trend_score,
    100 * (exp(trend_score) - 1) AS growth_pct, z,
    CASE WHEN z >= 3 THEN 'confirmed' WHEN z >= 2 THEN 'emerging' END AS confidence
FROM judged QUALIFY rank <= {_TOP}
"""

_RECOMMEND = f"""
WITH candidates AS (
    SELECT * FROM trends WHERE rank <= {_TOP_TRENDS} AND brand IS NOT NULL
    AND window_to = (SELECT max(window_to) FROM trends)
),
bought AS (
    SELECT DISTINCT user_id, product_id FROM events SEMI JOIN candidates USING (product_id)
    WHERE event_type = 'purchase' AND event_time >= (SELECT max(window_from) FROM candidates)
    AND event_time < (SELECT max(window_to) FROM candidates)
),
seen AS (
    SELECT user_id, item.brand AS brand, brand_position, item.last_seen_at AS brand_last_seen_at FROM (
        SELECT user_id, unnest(brands) AS item, generate_subscripts(brands, 1) AS brand_position FROM user_brands
        WHERE USER_PART
    ) SEMI JOIN candidates ON item.brand = candidates.brand
),
choices AS (
    SELECT user_id, c.rank AS trend_rank, brand_position, brand_last_seen_at
    FROM seen JOIN candidates c USING (brand) ANTI JOIN bought USING (user_id, product_id)
    QUALIFY row_number() OVER (PARTITION BY user_id, brand_position ORDER BY c.rank) <= {_PER_BRAND}
),
best AS (
    SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY trend_rank) AS rank FROM choices
    QUALIFY rank <= {_PER_USER}
)
SELECT best.user_id, best.rank, best.trend_rank, c.product_id, c.brand, trend_score, total_pct_increase, brand_position,
    brand_last_seen_at
FROM best JOIN candidates c ON best.trend_rank = c.rank
"""

# With fewer parts it needs more than 10 GB.
_USER_PARTS = 4

_ALL = f"WHERE event_date >= (SELECT min(event_date) FROM product_activity) + {_DAYS - 1}"
_LAST = "WHERE event_date = (SELECT max(event_date) FROM product_activity)"
_QUERIES = {
    "activity": _ACTIVITY,
    "brands": _BRANDS,
    "windows": _WINDOWS.replace("WINDOW_CONDITION", _ALL),
    "window": _WINDOWS.replace("WINDOW_CONDITION", _LAST),
    "recommend": _RECOMMEND,
}


def connect(inputs: Inputs, folder: Path) -> duckdb.DuckDBPyConnection:
    """Open a database with the memory limit of the bench and the inputs as views."""
    connection = duckdb.connect(config={"memory_limit": "10GB", "temp_directory": str(folder)})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET preserve_insertion_order = false")
    for name, files in inputs.items():
        if name != "month":
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({files}, hive_partitioning = true)")
    return connection


def answer(query: str, inputs: Inputs, folder: Path) -> None:
    """Write the answer as Parquet; a query per user in parts, because all users need too much memory."""
    connection = connect(inputs, folder)
    for part in range(_USER_PARTS if "USER_PART" in query else 1):
        of_part = query.replace("USER_PART", f"user_id % {_USER_PARTS} = {part}")
        connection.execute(f"COPY ({of_part}) TO '{answer_file(folder, part)}' (FORMAT parquet, COMPRESSION zstd)")


def store_files(inputs: Inputs, folder: Path) -> None:
    """Write the events of the files to a Delta table by day; a line that isn't an event raises an error."""
    connection = connect(inputs, folder)
    for file in inputs["month"]:
        connection.execute(
            f"CREATE OR REPLACE VIEW month AS SELECT * FROM read_csv('{file}', all_varchar = true, quote = '')"
        )
        rows = connection.execute(_EVENTS).to_arrow_table()
        deltalake.write_deltalake(folder / "events", rows, mode="append", partition_by=["event_date"])


if __name__ == "__main__":
    run_step(__doc__, {"files": store_files, **{name: partial(answer, text) for name, text in _QUERIES.items()}})
