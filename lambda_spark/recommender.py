"""Recommendations for all users, in Spark.

Trends are few and users many, so each task gets all candidates and goes through its users, a batch of them at a time.
"""

from collections.abc import Iterator

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lambda_spark.parquet_files import MakeRows
from lambda_spark.recommendations import IS_LEFT_OUT, RecommendationRule, candidates_of, recommend_to
from lambda_spark.time_ranges import TimeRange


def recommender(trends: DataFrame, events: DataFrame, rule: RecommendationRule) -> MakeRows:
    """Return what recommends trends to users, rows of (user_id, brands): one row per (window, user_id, rank).

    `trends` holds one window, `events` are those of it: what a user bought (or met, as `leave_out` says) in it is left
    out. Columns as schemas.RECOMMENDATIONS.
    """
    candidates = candidates_of(trends.toArrow(), rule)
    of_candidates = events.where(F.col("product_id").isin(candidates["product_id"].to_pylist()))
    met = met_products(of_candidates, rule.leave_out).toArrow()

    def recommend(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table]]:
        for batch in batches:
            yield (recommend_to(batch, candidates, met, rule),)

    return recommend


def met_products(events: DataFrame, leave_out: str) -> DataFrame:
    """Return what users have met, as far as it is to be left out. One row per (user_id, product_id)."""
    return events.where(IS_LEFT_OUT[leave_out]).select("user_id", "product_id").distinct()


def filter_range(events: DataFrame, time_range: TimeRange) -> DataFrame:
    """Keep the events of a range; the condition on event_date lets Delta skip the other days."""
    day, at = F.col("event_date"), F.col("event_time")
    in_days = day.between(F.lit(time_range.start.date()), F.lit(time_range.end.date()))
    return events.where(in_days & (at >= F.lit(time_range.start)) & (at < F.lit(time_range.end)))
