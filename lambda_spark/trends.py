"""Which products trend in a window: the origin's percentage, and a score that is a better ranking.

For the counts c1 … cn of a product's buckets:

    total_pct_increase = 100 (cn - c1) / c1                      the origin's figure; NULL and is_new where c1 = 0
    trend_score        = ln((r/h + a) / (b/m + a))               growth_pct = 100 (e^score - 1)
    z                  = (r - E) / sqrt(r + (h/m)² b + 1 + φ (r²/h + E²/m))        with E = (h/m) b

Each count is first divided by the shop's level in its bucket, so that what the whole shop does is no trend; the level
is the bucket's total over the mean of the buckets in which the shop had an event. b and r are the sums of these over
the baseline (the first m buckets) and the recent ones (the last h = round(3n/7)); buckets without any event of the
shop count in neither. a is the smoothing, in events per bucket. φ is the over-dispersion: the median over the ranked
products of (variance - mean) / mean², at least 0. z is the normal approximation of the difference of two over-
dispersed (negative binomial) counts; docs/adr/0006-support-and-smoothing.md has the choice of a.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lambda_spark.activity import weighted_count

WINDOW = ("window_from", "window_to")

# Without a smoothing of its own a shop gets its events per bucket over this, within these bounds: 20 from 20,000 on.
_EVENTS_PER_SMOOTHING = 1_000
_SMOOTHING_BOUNDS = (1.0, 20.0)
# ... and products are ranked from this many times the smoothing on.
_SUPPORT_PER_SMOOTHING = 3

_CONFIRMED_Z, _EMERGING_Z = 3, 2


@dataclass(frozen=True)
class TrendRule:
    """How trends are ranked; `smoothing` and `min_events` follow the shop's size where they are None."""

    rank_by: str
    count_by: str
    top: int
    weights: Mapping[str, float]
    smoothing: float | None = None
    min_events: int | None = None


def trends(activity: DataFrame, windows: DataFrame, buckets: int, bucket: str, rule: TrendRule) -> DataFrame:
    """Rank the products of each window. One row per (window_from, window_to, bucket, product_id), schemas.TRENDS.

    `activity` has one row per (bucket_at, product_id); `windows` one per window of `buckets` buckets, with the columns
    window_from, window_to and bucket_ats (the start of each bucket).
    """
    counted = activity.withColumn(
        "count", F.col("user_count").cast("double") if rule.count_by == "users" else weighted_count(rule.weights)
    )
    slots = windows.select(*WINDOW, F.explode("bucket_ats").alias("bucket_at"))
    in_windows = counted.join(F.broadcast(slots), "bucket_at", "inner")
    levels = _levels(in_windows, windows, rule)
    products = _products(in_windows).join(F.broadcast(levels), list(WINDOW), "inner").transform(_with_counts)
    scored = products.transform(_with_scores, buckets).transform(_with_confidence)
    return scored.transform(_ranked, rule, bucket)


def _products(in_windows: DataFrame) -> DataFrame:
    """Gather the buckets of each product. One row per (window, product_id); `count_at` maps bucket_at to the count."""
    at = F.col("bucket_at")
    return in_windows.groupBy(*WINDOW, "product_id").agg(
        _map("count").alias("count_at"),
        F.sum("user_count").alias("user_count"),
        *(F.max(F.when(F.col(c).isNotNull(), F.struct(at, c)))[c].alias(c) for c in ("brand", "category_code")),
    )


def _with_counts(products: DataFrame) -> DataFrame:
    """Add `counts`, one number per bucket, 0 where nothing happened, and their sum."""
    counts = F.transform("bucket_ats", lambda at: F.coalesce(F.col("count_at")[at], F.lit(0.0)))
    return products.withColumn("counts", counts).withColumn("event_count", _sum(F.col("counts")))


def _levels(in_windows: DataFrame, windows: DataFrame, rule: TrendRule) -> DataFrame:
    """Measure the shop. One row per window: its buckets, their `levels` (NULL without an event), smoothing, support."""
    totals = in_windows.groupBy(*WINDOW, "bucket_at").agg(F.sum("count").alias("total"))
    by_window = totals.groupBy(*WINDOW).agg(_map("total").alias("total_at")).join(windows, list(WINDOW), "inner")
    by_bucket = F.transform("bucket_ats", lambda at: F.col("total_at")[at])
    open_buckets = F.filter(by_bucket, lambda total: total > 0)
    mean = F.try_divide(_sum(open_buckets), F.size(open_buckets))
    low, high = _SMOOTHING_BOUNDS
    scaled = F.least(F.greatest(mean / _EVENTS_PER_SMOOTHING, F.lit(low)), F.lit(high))
    smoothing = F.lit(rule.smoothing) if rule.smoothing else scaled
    support = smoothing * _SUPPORT_PER_SMOOTHING if rule.min_events is None else F.lit(float(rule.min_events))
    levels = F.transform(by_bucket, lambda total: F.when(total > 0, total / mean))
    return by_window.select(
        *WINDOW, "bucket_ats", levels.alias("levels"), smoothing.alias("smoothing"), support.alias("support")
    )


def _with_scores(products: DataFrame, buckets: int) -> DataFrame:
    """Keep the products with support, and add the origin's percentage, the score and what the confidence needs."""
    recent = max(1, round(3 * buckets / 7))
    first, last = F.col("counts")[0], F.col("counts")[buckets - 1]
    adjusted = F.zip_with("counts", "levels", lambda count, level: count / level)
    # In order, never as they come: sums of fractions would differ in the last digit from run to run.
    baseline_counts = F.filter(F.slice(adjusted, 1, buckets - recent), lambda count: count.isNotNull())
    recent_counts = F.filter(F.slice(adjusted, buckets - recent + 1, recent), lambda count: count.isNotNull())
    per_bucket = {"r": recent_counts, "b": baseline_counts}
    sums = {name: _sum(counts) for name, counts in per_bucket.items()}
    sizes = {"h": F.size(recent_counts).cast("double"), "m": F.size(baseline_counts).cast("double")}
    both_sides = (F.col("h") > 0) & (F.col("m") > 0)
    ratio = (F.col("r") / F.col("h") + F.col("smoothing")) / (F.col("b") / F.col("m") + F.col("smoothing"))
    return (
        products.where(F.col("event_count") >= F.col("support"))
        .withColumns({**sums, **sizes, "adjusted": F.concat(baseline_counts, recent_counts)})
        .withColumn("is_new", first == 0)
        .withColumn("total_pct_increase", F.when(first > 0, 100 * (last - first) / first))
        .withColumn("trend_score", F.when(both_sides, F.ln(ratio)))
        .withColumn("growth_pct", 100 * (F.exp("trend_score") - 1))
    )


def _with_confidence(scored: DataFrame) -> DataFrame:
    """Add z and its label: confirmed, emerging, or NULL."""
    n, mean = F.size("adjusted"), F.try_divide(_sum(F.col("adjusted")), F.size("adjusted"))
    squares = _sum(F.transform("adjusted", lambda count: F.pow(count - F.col("mean"), 2)))
    dispersion = F.when(F.col("mean") > 0, (squares / (n - 1) - F.col("mean")) / F.pow("mean", 2))
    r, b, h, m, phi, expected = (F.col(name) for name in ("r", "b", "h", "m", "phi", "expected"))
    variance = r + F.pow(h / m, 2) * b + 1 + phi * (r * r / h + expected * expected / m)
    label = F.when(F.col("z") >= _CONFIRMED_Z, "confirmed").when(F.col("z") >= _EMERGING_Z, "emerging")
    phi_of_window = F.greatest(
        F.coalesce(F.median("dispersion").over(Window.partitionBy(*WINDOW)), F.lit(0.0)), F.lit(0.0)
    )
    return (
        scored.withColumn("mean", mean)
        .withColumn("dispersion", F.when(n > 1, dispersion))
        .withColumn("phi", phi_of_window)
        .withColumn("expected", F.when(m > 0, h / m * b))
        .withColumn("z", F.when(F.col("trend_score").isNotNull(), (r - expected) / F.sqrt(variance)))
        .withColumn("confidence", label)
    )


def _ranked(scored: DataFrame, rule: TrendRule, bucket: str) -> DataFrame:
    """Rank the products of each window and keep the top."""
    rank_by = "event_count" if rule.rank_by == "events" else rule.rank_by
    order = (F.desc_nulls_last(rank_by), F.desc("event_count"), F.asc("product_id"))
    shown = F.arrays_zip(F.col("bucket_ats").alias("bucket_at"), F.col("counts").alias("event_count"))
    ranks = F.row_number().over(Window.partitionBy(*WINDOW).orderBy(*order))
    return (
        scored.withColumn("rank", ranks)
        .where(F.col("rank") <= rule.top)
        .select(
            *WINDOW,
            F.lit(bucket).alias("bucket"),
            "rank",
            "product_id",
            "brand",
            "category_code",
            shown.alias("buckets"),
            "event_count",
            "user_count",
            "total_pct_increase",
            "is_new",
            "trend_score",
            "growth_pct",
            "z",
            "confidence",
        )
    )


def _map(value: str) -> Column:
    return F.map_from_entries(F.collect_list(F.struct("bucket_at", value)))


def _sum(numbers: Column) -> Column:
    return F.aggregate(numbers, F.lit(0.0), lambda total, number: total + number)
