"""What is known at a cut, and what is to be recommended: read from the master dataset by the product's own rules.

No event at or after t gets into anything but `truth`: windows and histories end before t, and everybody's brands are
recomputed as they stood at t.
"""

from datetime import datetime
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import tables, trend_windows, views
from lambda_spark.activity import filter_range
from lambda_spark.brands import normalised_brand
from lambda_spark.evaluation.splits import Cut
from lambda_spark.recommendations import met_products
from lambda_spark.settings import Settings
from lambda_spark.tables import EVENTS

# So many users are judged at a cut at most: the interval of a rate is then below half a percent.
_MOST_USERS = 20_000


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
    root, t = settings.data_root, cut.judged.start
    events = tables.read(spark, root, EVENTS)
    history, window = filter_before(events, t), filter_range(events, cut.window)
    later = _pairs(filter_range(events, cut.judged))
    back = later.select("user_id").distinct().join(history, "user_id", "left_semi")
    judged = back.orderBy(F.xxhash64("user_id"), "user_id").limit(_MOST_USERS).orderBy("user_id").cache()

    def of_judged(rows: DataFrame) -> pa.Table:
        return rows.join(judged, "user_id", "left_semi").toArrow()

    training = window.groupBy("user_id", "product_id").agg(F.count("*").alias("event_count")).toArrow()
    return Case(
        judged=judged.toArrow(),
        lists=of_judged(views.brands_as_of(spark, root, settings.brands, t)),
        known=of_judged(_pairs(history)),
        met=of_judged(met_products(window, settings.recommendations.leave_out)),
        products=_products(history, cut).toArrow(),
        training=training,
        truth=of_judged(later),
    )


def read_trends(spark: SparkSession, settings: Settings, cut: Cut, bucket: str, **changes: object) -> pa.Table:
    """Compute the window's trends by the settings, or with some of them changed. Rows as in schemas.TRENDS."""
    rule = settings.trends.model_copy(update=changes)
    return trend_windows.compute_trends(spark, settings.data_root, rule, [cut.window], bucket)


def filter_before(events: DataFrame, t: datetime) -> DataFrame:
    """Keep the events before an instant; the condition on event_date lets Delta skip later days."""
    return events.where((F.col("event_date") <= F.lit(t.date())) & (F.col("event_time") < F.lit(t)))


def _pairs(events: DataFrame) -> DataFrame:
    return events.select("user_id", "product_id").distinct()


def _products(history: DataFrame, cut: Cut) -> DataFrame:
    """Count the products' events. One row per product_id that has any before t; the brand is the newest."""
    brand = normalised_brand(F.col("brand"))
    return history.groupBy("product_id").agg(
        F.max_by(brand, F.struct("event_time", "brand")).alias("brand"),
        F.count_if(F.col("event_time") >= F.lit(cut.window.start)).alias("window_count"),
        F.count("*").alias("history_count"),
    )
