"""An invented run with invented brands: the rows that the tests of the console and of the page show."""

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

from lambda_spark.summary import Counts, RunSummary
from lambda_spark.words import Row

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
        "seconds": {"replay": 4.2, "ingest": 31.0},
    }
    return RunSummary(**values | other)
