"""The recommendation rule: the trending products whose brand is among a user's recent ones, best trend first."""

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lambda_spark.schemas import RECOMMENDATION_COLUMNS


@dataclass(frozen=True)
class RecommendationRule:
    """How many products are recommended, and which are left out."""

    top_trends: int
    per_user: int
    per_brand: int
    leave_out: str
    fallback: bool


def recommendations(trends: DataFrame, brands: DataFrame, events: DataFrame, rule: RecommendationRule) -> DataFrame:
    """Recommend trends to users. One row per (window, user_id, rank), schemas.RECOMMENDATIONS.

    `trends` holds one window, `brands` the users' recent brands (user_id, brands), `events` those of the window: what
    a user bought (or met, as `leave_out` says) in it is left out.
    """
    candidates = trends.where(F.col("rank") <= rule.top_trends).transform(_as_candidates)
    offers = match_brands(candidates, brands)
    if rule.fallback:
        offers = offers.unionByName(_fallbacks(candidates, brands, offers))
    new = offers.join(_met(events, rule.leave_out), ["user_id", "product_id"], "left_anti")
    chosen = new.transform(_keep_best, ["user_id", "brand"], rule.per_brand, "place_in_brand")
    ranked = chosen.transform(_keep_best, ["user_id"], rule.per_user, "rank")
    return ranked.select(*RECOMMENDATION_COLUMNS)


def match_brands(candidates: DataFrame, brands: DataFrame) -> DataFrame:
    """Pair each user's brands with the trends of that brand. One row per (user_id, product_id)."""
    positions = brands.select("user_id", F.posexplode("brands").alias("position", "item")).select(
        "user_id",
        F.col("item")["brand"].alias("brand"),
        (F.col("position") + 1).alias("brand_position"),
        F.col("item")["last_seen_at"].alias("brand_last_seen_at"),
    )
    return positions.join(F.broadcast(candidates), "brand", "inner").withColumn("is_fallback", F.lit(False))


def _as_candidates(trends: DataFrame) -> DataFrame:
    return trends.select(
        "window_from",
        "window_to",
        F.col("rank").alias("trend_rank"),
        "product_id",
        "brand",
        "trend_score",
        "total_pct_increase",
    )


def _met(events: DataFrame, leave_out: str) -> DataFrame:
    """Return what each user is not to be recommended again. One row per (user_id, product_id)."""
    is_met = {"purchased": F.col("event_type") == "purchase", "seen": F.lit(True), "none": F.lit(False)}[leave_out]
    return events.where(is_met).select("user_id", "product_id").distinct()


def _fallbacks(candidates: DataFrame, brands: DataFrame, matches: DataFrame) -> DataFrame:
    """Offer every user the top trends of other brands. One row per (user_id, product_id)."""
    everything = brands.select("user_id").crossJoin(F.broadcast(candidates))
    nothing: dict[str, Column] = {
        "brand_position": F.lit(None).cast("int"),
        "brand_last_seen_at": F.lit(None).cast("timestamp"),
        "is_fallback": F.lit(True),
    }
    return everything.join(matches, ["user_id", "product_id"], "left_anti").withColumns(nothing)


def _keep_best(matches: DataFrame, group: list[str], most: int, place: str) -> DataFrame:
    """Number the rows of each group, best trend first, then the more recent brand; keep the first ones."""
    order = ("is_fallback", "trend_rank", "brand_position", "product_id")
    return matches.withColumn(place, F.row_number().over(Window.partitionBy(*group).orderBy(*order))).where(
        F.col(place) <= most
    )
