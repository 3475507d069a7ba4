"""What happened to each product in each bucket of time: the counts that trends are made of."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lambda_spark.brands import normalised_brand
from lambda_spark.time_ranges import UTC, TimeRange

# The event types that are counted apart, and the column of each count.
COUNT_COLUMNS = {
    "view": "view_count",
    "cart": "cart_count",
    "remove_from_cart": "remove_count",
    "purchase": "purchase_count",
}
# What the weights call all other types.
OTHER = "other"

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def product_activity(events: DataFrame) -> DataFrame:
    """Count per day. One row per (event_date, product_id), schemas.PRODUCT_ACTIVITY."""
    return _count(events, "event_date")


def bucket_activity(events: DataFrame, time_range: TimeRange, size: timedelta) -> DataFrame:
    """Count per bucket from the range's start on. One row per (bucket_at, product_id), else as product_activity."""
    in_range = filter_range(events, time_range)
    return _count(in_range.withColumn("bucket_at", _bucket_at(time_range.start, size)), "bucket_at")


def daily_buckets(activity: DataFrame) -> DataFrame:
    """Give product_activity the column `bucket_at` in place of its day."""
    return activity.withColumn("bucket_at", F.col("event_date").cast("timestamp")).drop("event_date")


def filter_range(events: DataFrame, time_range: TimeRange) -> DataFrame:
    """Keep the events of a range; the condition on event_date lets Delta skip the other days."""
    day, at = F.col("event_date"), F.col("event_time")
    in_days = day.between(F.lit(time_range.start.date()), F.lit(time_range.end.date()))
    return events.where(in_days & (at >= F.lit(time_range.start)) & (at < F.lit(time_range.end)))


def weighted_count(weights: Mapping[str, float]) -> Column:
    """Return the weighted sum of a bucket's events: each of the four types by its weight, all others by `other`."""
    named = [F.col(column) * F.lit(weights[name]) for name, column in COUNT_COLUMNS.items()]
    others = F.col("event_count") - sum(map(F.col, COUNT_COLUMNS.values()), F.lit(0))
    return sum(named, others * F.lit(weights[OTHER]))


def _bucket_at(start: datetime, size: timedelta) -> Column:
    size_us, start_us = size // _MICROSECOND, (start - _EPOCH) // _MICROSECOND
    return F.timestamp_micros(F.floor((F.unix_micros("event_time") - start_us) / size_us) * size_us + start_us)


def _count(events: DataFrame, bucket: str) -> DataFrame:
    counts = [F.count_if(F.col("event_type") == name).alias(column) for name, column in COUNT_COLUMNS.items()]
    category = F.when(F.lower("category_code") != "unknown", F.col("category_code"))
    return (
        events.withColumns({"brand": normalised_brand(F.col("brand")), "category_code": category})
        .groupBy(bucket, "product_id")
        .agg(
            _latest("brand"),
            _latest("category_code"),
            *counts,
            F.count("*").alias("event_count"),
            F.count_distinct("user_id").alias("user_count"),
            _latest("price").alias("last_price"),
        )
    )


def _latest(column: str) -> Column:
    """Return the newest value that is there; of several at one time the largest, so that a rerun gives the same."""
    newest = F.max(F.when(F.col(column).isNotNull(), F.struct("event_time", column)))
    return newest[column].alias(column)
