"""An invented run with invented brands: the rows that the tests of the console and of the page show."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

from lambda_spark.delta.event_log import Counts
from lambda_spark.report.quality import Backtest, Evaluation, PlantedShop, Quality
from lambda_spark.report.summary import RunSummary
from lambda_spark.schemas import Row

START = datetime(2019, 11, 1, tzinfo=timezone.utc)
END = START + timedelta(days=7)
USER = 5_126_399_804_412_345_678  # 19 digits: more than a float holds


def trend(rank: int, product_id: int, counts: list[int], **other: Any) -> Row:
    """Return a row of `trends` over seven days."""
    first, last = counts[0], counts[-1]
    values = {
        "window_from": START,
        "window_to": END,
        "bucket": "day",
        "rank": rank,
        "product_id": product_id,
        "brand": "norrvik",
        "category_code": "electronics.smartphone",
        "buckets": [
            SimpleNamespace(bucket_at=START + timedelta(days=day), event_count=float(count))
            for day, count in enumerate(counts)
        ],
        "event_count": float(sum(counts)),
        "user_count": sum(counts) // 2,
        "total_pct_increase": 100 * (last - first) / first if first else None,
        "is_new": first == 0,
        "trend_score": 2.0 - rank / 10,
        "growth_pct": 100 * (2.718 ** (2.0 - rank / 10) - 1),
        "z": 4.0 - rank / 5,
        "confidence": "confirmed" if rank < 5 else "emerging",
    }
    return SimpleNamespace(**values | other)


def user_brands(user_id: int, *names: str) -> Row:
    """Return a row of `user_brands`: the named brands, each seen seven hours before the one before it."""
    brands = [
        SimpleNamespace(brand=name, last_seen_at=END - timedelta(hours=2 + 7 * place, minutes=11 * place))
        for place, name in enumerate(names)
    ]
    return SimpleNamespace(user_id=user_id, brands=brands)


def recommendation(user_id: int, rank: int, product: Row, **other: Any) -> Row:
    """Return a row of `recommendations` for a trend of the user's most recent brand."""
    values = {
        "window_from": START,
        "window_to": END,
        "user_id": user_id,
        "rank": rank,
        "product_id": product.product_id,
        "brand": product.brand,
        "trend_rank": product.rank,
        "trend_score": product.trend_score,
        "total_pct_increase": product.total_pct_increase,
        "brand_position": 1,
        "brand_last_seen_at": END - timedelta(days=2, hours=3),
        "is_fallback": False,
    }
    return SimpleNamespace(**values | other)


def competitor(hit_rate: float, ndcg: float) -> dict[str, list[float]]:
    """Return the figures of a competitor as the evaluation writes them, with narrow intervals."""
    return {
        "hit_rate": [hit_rate, hit_rate - 0.01, hit_rate + 0.01],
        "ndcg": [ndcg, ndcg - 0.005, ndcg + 0.005],
        "precision": [0.02, 0.01, 0.03],
    }


def backtest(**other: Any) -> dict[str, Any]:
    """Return a backtest as the evaluation writes it: popularity is ahead by HR@20, behind by NDCG@20."""
    values = {
        "cuts": 6,
        "users": 1_230,
        "judgements": 2_067,
        "competitors": {
            "popularity": competitor(0.5, 0.1),
            "trend-rank": competitor(0.2, 0.03),
            "order relevance": competitor(0.4, 0.13),
            "all products": competitor(0.55, 0.12),
        },
        "lift": {
            "order relevance": {
                "hit_rate": {"over": "popularity", "times": [0.8, 0.77, 0.84]},
                "ndcg": {"over": "popularity", "times": [1.3, 1.2, 1.4]},
            }
        },
    }
    return values | other


def planted_shop(**other: Any) -> dict[str, Any]:
    """Return the results of rankings on drawn weeks, as the evaluation writes them."""

    def ranking(trend: float, spam: float, none: float) -> dict[str, Any]:
        first = {"trend": trend, "spam": spam, "decoy": 0.5, "rhythm": 0.25, "none": none}
        return {"found_at_20": first, "found_at_100": {**first, "trend": trend + 4, "none": none + 76}}

    values = {
        "weeks": 120,
        "seeds": [11, 12],
        "planted": {"trend": 20, "spam": 20.0, "decoy": 8, "rhythm": 60},
        "rankings": {"score, events": ranking(6.5, 10, 2.75), "score, users": ranking(13, 0, 6.25)},
    }
    return values | other


def quality(recommendations: Mapping[str, Any] | None = None, trends: Mapping[str, Any] | None = None) -> Quality:
    """Return the evaluations of these parts by title; by default one of each."""
    backtests = {"Generated months": backtest()} if recommendations is None else recommendations
    shops = {"small": planted_shop()} if trends is None else trends
    return Quality(
        Evaluation({title: Backtest.model_validate(part) for title, part in backtests.items()}, "Measured.", "measure"),
        Evaluation({title: PlantedShop.model_validate(part) for title, part in shops.items()}, "Measured.", "measure"),
    )


def summary(**other: Any) -> RunSummary:
    """Return a small run in which everything agrees."""
    trends = [
        trend(1, 1004856, [21, 24, 30, 45, 60, 81, 96]),
        trend(2, 44600062, [0, 0, 3, 12, 25, 40, 38], brand="qivra", category_code=None),
        trend(3, 1307067, [50, 48, 66, 70, 81, 90, 75], brand="tessel & söhne"),
    ]
    values: dict[str, Any] = {
        "counts": Counts(213_004, 213_004, 213_004, 212_950, {"user_id_malformed": 40, "not_nine_fields": 14}),
        "window_from": START,
        "window_to": END,
        "bucket": "day",
        "count_by": "users",
        "min_events": 25,
        "brand_limit": 50,
        "trends": trends,
        "brands": [user_brands(USER, "norrvik", "qivra", "ålma"), user_brands(77, "tessel & söhne")],
        "recommendations": [recommendation(USER, 1, trends[0]), recommendation(77, 1, trends[2])],
        "data_root": "data",
        "quality": quality(),
        "seconds": {"replay": 4.2, "ingest": 31.0},
    }
    return RunSummary(**values | other)
