"""The serving layer: the recommendation rule applied to what the other layers hold."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import commits, tables, trend_windows, views
from lambda_spark.activity import filter_range
from lambda_spark.commits import Lineage
from lambda_spark.errors import UnknownUserError
from lambda_spark.recommendations import RecommendationRule, recommender
from lambda_spark.settings import Settings
from lambda_spark.tables import EVENTS, RECOMMENDATIONS, TRENDS
from lambda_spark.time_ranges import Request


def replace_recommendations(
    spark: SparkSession, settings: Settings, request: Request, users: Sequence[int], where: str, lineage: Lineage
) -> None:
    """Recommend, to all users or those named, from what the master dataset and the views hold; `where` names the rows.

    Raises NotComputedError and UnknownUserError.
    """
    root = settings.data_root
    all_events = tables.read(spark, root, EVENTS)
    brands = views.brands_as_of(spark, root, settings.brands, request.range.end)
    if users:
        _check_known(all_events, users)
        brands = brands.where(F.col("user_id").isin(*users))
    trending = trend_windows.stored_trends(spark, root, request) if tables.exists(root, TRENDS) else None
    if trending is None or trending.isEmpty():
        computed = trend_windows.compute_trends(spark, root, settings.trends, [request.range], request.bucket)
        trending = spark.createDataFrame(computed)
    rule = RecommendationRule(**settings.recommendations.model_dump())
    recommend = recommender(trending, filter_range(all_events, request.range), rule)
    commits.replace(brands.select("user_id", "brands"), recommend, root, RECOMMENDATIONS, where, lineage)


def _check_known(all_events: DataFrame, users: Sequence[int]) -> None:
    known = {
        row.user_id for row in all_events.where(F.col("user_id").isin(*users)).select("user_id").distinct().collect()
    }
    if unknown := [user for user in users if user not in known]:
        raise UnknownUserError(
            f"No event names the user {', '.join(map(str, unknown))}: choose one that `events` holds."
        )
