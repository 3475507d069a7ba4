"""Counts per product and bucket of time, which trends are made of: one SQL statement over events, run by DuckDB."""

from datetime import timedelta

import pyarrow as pa
from pyarrow.dataset import Dataset

from lambda_spark import engine
from lambda_spark.engine import brand_sql
from lambda_spark.schemas import COUNT_COLUMNS
from lambda_spark.time_ranges import MICROSECOND, TimeRange, micros

_CATEGORY = "CASE WHEN lower(category_code) <> 'unknown' THEN category_code END"


def count_events(
    events: Dataset, time_range: TimeRange, size: timedelta, bucket: str, product_id: int | None = None
) -> pa.Table:
    """Count the events of a range in buckets of that size. One row per (bucket, product_id), schemas.BUCKET_ACTIVITY.

    `bucket` is the SQL of the bucket's column, computed from `bucket_at`; with `product_id` only that product counts.
    A product has few combinations of brand, category and price: the newest of each is found among these by their newest
    time, and not among all events.
    """
    kinds = ", ".join(f"count(*) FILTER (event_type = '{name}') AS {column}" for name, column in COUNT_COLUMNS.items())
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in (*COUNT_COLUMNS.values(), "event_count"))
    product = "true" if product_id is None else f"product_id = {product_id}"
    start, width = micros(time_range.start), size // MICROSECOND
    sql = f"""
        WITH in_range AS NOT MATERIALIZED (
            SELECT event_type, product_id, category_code, brand, price, user_id, event_time,
                (epoch_us(event_time) - {start}) // {width} AS place
            FROM events
            WHERE event_time >= TIMESTAMPTZ '{time_range.start}' AND event_time < TIMESTAMPTZ '{time_range.end}'
                AND {product}
        ), combinations AS (
            SELECT place, product_id, brand, category_code, price, max(event_time) AS newest, {kinds},
                count(*) AS event_count
            FROM in_range GROUP BY ALL
        ), products AS (
            SELECT place, product_id, {_newest("brand")}, {_newest("category_code")}, {sums}, {_newest("price")}
            FROM (SELECT * REPLACE ({brand_sql("brand")} AS brand, {_CATEGORY} AS category_code) FROM combinations)
            GROUP BY ALL
        ), users AS (
            SELECT place, product_id, count(*) AS user_count
            FROM (SELECT DISTINCT place, product_id, user_id FROM in_range) GROUP BY ALL
        )
        SELECT {bucket}, product_id, brand, category_code, {", ".join(COUNT_COLUMNS.values())}, event_count, user_count,
            price AS last_price
        FROM (SELECT *, make_timestamptz(place * {width} + {start}) AS bucket_at
            FROM products JOIN users USING (place, product_id))
    """
    return engine.query(sql, events=events)


def count_shop(events: Dataset, time_range: TimeRange, size: timedelta) -> list[int]:
    """Count the events of the whole shop in each bucket of a range, in order."""
    start, end = time_range
    sql = f"""
        SELECT CAST((epoch_us(event_time) - {micros(start)}) // {size // MICROSECOND} AS BIGINT) AS place,
            count(*) AS total
        FROM events WHERE event_time >= TIMESTAMPTZ '{start}' AND event_time < TIMESTAMPTZ '{end}' GROUP BY place
    """
    counted = engine.query(sql, events=events)
    totals = [0] * ((end - start) // size)
    for place, total in zip(counted["place"].to_pylist(), counted["total"].to_pylist(), strict=True):
        totals[place] = total
    return totals


def _newest(column: str) -> str:
    """SQL of the newest value that isn't NULL; of several at one time the largest, so that a rerun gives the same."""
    return f"max_by({column}, (newest, {column})) FILTER ({column} IS NOT NULL) AS {column}"
