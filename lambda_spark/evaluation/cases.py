"""The time split of the backtest: recommendations as of an instant t are judged by the events after it.

A cut is such an instant; its case has the data of the master dataset before and after t. Only `truth` and the choice
of judged users contain anything from events at or after t: windows and histories end before t, and everybody's brands
are recomputed as of t.
"""

from collections.abc import Sequence
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lambda_spark.batch.bucket_counts import open_counts, spark_counter
from lambda_spark.batch.trends import compute_trends
from lambda_spark.delta import event_log
from lambda_spark.delta.file_tasks import EventSlice, open_files
from lambda_spark.engine import brand_sql
from lambda_spark.errors import TimeRangeError
from lambda_spark.recommendations.rule import EXCLUDED_SQL
from lambda_spark.serving.histories import computed_brands
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import UTC, EventDay, TimeRange, complete_days, floor_to_bucket, parse_bucket

# A window has this many buckets, seven days by default; recommendations are judged by the next bucket.
_BUCKETS = 7

# The most users that are judged at a cut: the interval of a rate is then below one percent.
_MOST_USERS = 20_000

_JUDGED = f"""
    SELECT user_id FROM (SELECT DISTINCT user_id FROM later) SEMI JOIN history USING (user_id)
    ORDER BY md5(CAST(user_id AS VARCHAR)) LIMIT {_MOST_USERS}
"""

_PRODUCTS = f"""
    SELECT product_id, max_by(brand, (newest, brand)) FILTER (brand IS NOT NULL) AS brand,
        CAST(sum(window_count) AS BIGINT) AS window_count, CAST(sum(history_count) AS BIGINT) AS history_count
    FROM (SELECT product_id, {brand_sql("brand")} AS brand, newest, window_count, history_count
        FROM (SELECT product_id, brand, max(event_time) AS newest, count(*) FILTER (in_window) AS window_count,
            count(*) AS history_count FROM history GROUP BY ALL))
    GROUP BY product_id ORDER BY product_id
"""


class Cut(NamedTuple):
    """An instant t as two ranges: the window before it, and the judged bucket, which begins with it."""

    window: TimeRange
    judged: TimeRange


class Case(NamedTuple):
    """The data of a cut. All tables but `products` and `training` have only the judged users."""

    judged: pa.Table  # user_id: users with events both before and from t on
    lists: pa.Table  # user_id, brands: recent brands as of t
    interacted: pa.Table  # user_id, product_id: interactions at any time before t
    excluded: pa.Table  # user_id, product_id: never recommended, by leave_out and the events of the window
    products: pa.Table  # product_id, brand, window_count, history_count: events in the window, and at any time before t
    training: pa.Table  # user_id, product_id, event_count: of the window
    truth: pa.Table  # user_id, product_id: interactions from t on


def find_cuts(days: Sequence[EventDay], bucket: str, count: int, within: TimeRange | None = None) -> list[Cut]:
    """Return at most `count` cuts, spread evenly over the days with events, or over those `within` a range.

    Each cut has a whole window before it and a complete bucket of a day with events after it. Raises TimeRangeError if
    there is none.
    """
    size = parse_bucket(bucket)
    first = floor_to_bucket(days[0].first_at, size)
    with_events, complete, newest = {day.day for day in days}, set(complete_days(days)), days[-1].last_at
    instants = [first + step * size for step in range(_BUCKETS, (newest - first) // size + 1)]
    found = [t for t in instants if t.date() in with_events and (t.date() in complete or t + size <= newest)]
    if within:
        found = [t for t in found if within.start <= t and t + size <= within.end]
    if not found:
        raise TimeRangeError(f"No {_BUCKETS} buckets ({bucket}) are followed by another one: choose a finer --bucket.")
    chosen = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
    ends = [found[index] for index in chosen]
    return [Cut(TimeRange(t - _BUCKETS * size, t), TimeRange(t, t + size)) for t in ends]


def read_case(spark: SparkSession, settings: Settings, cut: Cut) -> Case:
    """Read the case of a cut from the master dataset."""
    root, t, end = settings.data_root, *(instant.astimezone(UTC) for instant in cut.judged)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("events", open_files(file for file in event_log.event_files(root) if file.day <= end.date()))
    columns = "user_id, product_id, brand, event_type, event_time"
    connection.execute(f"""
        CREATE TABLE history AS SELECT {columns}, event_time >= TIMESTAMPTZ '{cut.window.start}' AS in_window
        FROM events WHERE event_time < TIMESTAMPTZ '{t}'
    """)
    connection.execute(f"""
        CREATE TABLE later AS SELECT {columns} FROM events
        WHERE event_time >= TIMESTAMPTZ '{t}' AND event_time < TIMESTAMPTZ '{end}'
    """)
    connection.execute(f"CREATE TABLE judged AS {_JUDGED}")
    judged = connection.execute("FROM judged ORDER BY user_id").to_arrow_table()
    lists = computed_brands(spark, settings.brands, [EventSlice(event_log.event_files(root))], t)
    judged_users = F.broadcast(spark.createDataFrame(judged))
    excluded = f"in_window AND {EXCLUDED_SQL[settings.recommendations.leave_out]}"
    return Case(
        judged=judged,
        lists=lists.join(judged_users, "user_id", "left_semi").orderBy("user_id").toArrow(),
        interacted=_pairs(connection, "history SEMI JOIN judged USING (user_id)"),
        excluded=_pairs(connection, f"history SEMI JOIN judged USING (user_id) WHERE {excluded}"),
        products=connection.execute(_PRODUCTS).to_arrow_table(),
        training=_pairs(connection, "history WHERE in_window", ", count(*) AS event_count"),
        truth=_pairs(connection, "later SEMI JOIN judged USING (user_id)"),
    )


def read_trends(spark: SparkSession, settings: Settings, cut: Cut, bucket: str, **changes: object) -> pa.Table:
    """Compute the trends of the window by the settings with some changed. One row per product_id, schemas.TRENDS."""
    rule = settings.trends.model_copy(update=changes)
    root = settings.data_root
    return compute_trends(spark_counter(spark), root, rule, [cut.window], bucket, open_counts(root), cut.window.end)


def _pairs(connection: duckdb.DuckDBPyConnection, source: str, figures: str = "") -> pa.Table:
    """Read the distinct pairs of user and product of an SQL source, sorted."""
    sql = f"SELECT user_id, product_id{figures} FROM {source} GROUP BY user_id, product_id ORDER BY user_id, product_id"
    return connection.execute(sql).to_arrow_table()
