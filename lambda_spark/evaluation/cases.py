"""The time split: what is recommended as of an instant t is judged by what happens next.

What is known at a cut, and what is to be recommended: read from the master dataset.

No event at or after t gets into anything but `truth` and who is judged: windows and histories end before t, and
everybody's brands are recomputed as they stood at t.
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

# A window has so many buckets, seven days by default; what follows is judged for one more.
_BUCKETS = 7


class Cut(NamedTuple):
    """An instant t in two ranges: the window before it, and the bucket from it on, by which is judged."""

    window: TimeRange
    judged: TimeRange


def find_cuts(days: Sequence[EventDay], bucket: str, count: int, within: TimeRange | None = None) -> list[Cut]:
    """Return at most so many cuts, spread evenly over what is held, or over the part of it that is judged.

    Each has a whole window behind it, and is judged by a bucket of which the day is held, to its end. Raises
    TimeRangeError where there is none.
    """
    size = parse_bucket(bucket)
    first = floor_to_bucket(days[0].first_at, size)
    held, complete, newest = {day.day for day in days}, set(complete_days(days)), days[-1].last_at
    instants = [first + step * size for step in range(_BUCKETS, (newest - first) // size + 1)]
    found = [t for t in instants if t.date() in held and (t.date() in complete or t + size <= newest)]
    if within:
        found = [t for t in found if within.start <= t and t + size <= within.end]
    if not found:
        raise TimeRangeError(f"No {_BUCKETS} buckets ({bucket}) are followed by another one: choose a finer --bucket.")
    chosen = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
    ends = [found[place] for place in chosen]
    return [Cut(TimeRange(t - _BUCKETS * size, t), TimeRange(t, t + size)) for t in ends]


# So many users are judged at a cut at most: the interval of a rate is then below one percent.
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


class Case(NamedTuple):
    """A cut's data. Each table tells of the judged users alone, but for `products` and `training`."""

    judged: pa.Table  # user_id: who comes back, met anything before t and does something from t on
    lists: pa.Table  # user_id, brands: as they stood at t
    known: pa.Table  # user_id, product_id: met at any time before t
    met: pa.Table  # user_id, product_id: of the window, and left out of recommendations
    products: pa.Table  # product_id, brand, window_count, history_count: events in the window, and at any time before t
    training: pa.Table  # user_id, product_id, event_count: the window's
    truth: pa.Table  # user_id, product_id: met from t on


def read_case(spark: SparkSession, settings: Settings, cut: Cut) -> Case:
    """Read what the cut needs from the master dataset."""
    root, t, end = settings.data_root, *(instant.astimezone(UTC) for instant in cut.judged)
    found = duckdb.connect()
    found.execute("SET TimeZone = 'UTC'")
    found.register("events", open_files(file for file in event_log.event_files(root) if file.day <= end.date()))
    columns = "user_id, product_id, brand, event_type, event_time"
    found.execute(f"""
        CREATE TABLE history AS SELECT {columns}, event_time >= TIMESTAMPTZ '{cut.window.start}' AS in_window
        FROM events WHERE event_time < TIMESTAMPTZ '{t}'
    """)
    found.execute(f"""
        CREATE TABLE later AS SELECT {columns} FROM events
        WHERE event_time >= TIMESTAMPTZ '{t}' AND event_time < TIMESTAMPTZ '{end}'
    """)
    found.execute(f"CREATE TABLE judged AS {_JUDGED}")
    judged = found.execute("FROM judged ORDER BY user_id").to_arrow_table()
    lists = computed_brands(spark, settings.brands, [EventSlice(event_log.event_files(root))], t)
    few = F.broadcast(spark.createDataFrame(judged))
    left_out = f"in_window AND {EXCLUDED_SQL[settings.recommendations.leave_out]}"
    return Case(
        judged=judged,
        lists=lists.join(few, "user_id", "left_semi").orderBy("user_id").toArrow(),
        known=_pairs(found, "history SEMI JOIN judged USING (user_id)"),
        met=_pairs(found, f"history SEMI JOIN judged USING (user_id) WHERE {left_out}"),
        products=found.execute(_PRODUCTS).to_arrow_table(),
        training=_pairs(found, "history WHERE in_window", ", count(*) AS event_count"),
        truth=_pairs(found, "later SEMI JOIN judged USING (user_id)"),
    )


def read_trends(spark: SparkSession, settings: Settings, cut: Cut, bucket: str, **changes: object) -> pa.Table:
    """Compute the window's trends by the settings, or with some of them changed. Rows as in schemas.TRENDS."""
    rule = settings.trends.model_copy(update=changes)
    root = settings.data_root
    return compute_trends(spark_counter(spark), root, rule, [cut.window], bucket, open_counts(root), cut.window.end)


def _pairs(found: duckdb.DuckDBPyConnection, source: str, figures: str = "") -> pa.Table:
    """Read the pairs of user and product of a source in SQL, in their order."""
    sql = f"SELECT user_id, product_id{figures} FROM {source} GROUP BY user_id, product_id ORDER BY user_id, product_id"
    return found.execute(sql).to_arrow_table()
