"""Recommendations: trends of a user's recent brands, with the evidence in every row."""

import math
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_spark import engine
from lambda_spark.recommendations.rule import EXCLUDED_SQL, RecommendationRule, candidates_of, recommend_to
from lambda_spark.schemas import RECOMMENDATION_COLUMNS

UTC = timezone.utc
FROM, TO = datetime(2019, 11, 1, tzinfo=UTC), datetime(2019, 11, 8, tzinfo=UTC)

# rank, product, brand, score, increase, events
TRENDS = [
    (1, 11, "apple", 0.9, 150.0, 40.0),
    (2, 21, "sony", 0.8, None, 30.0),
    (3, 12, "apple", 0.7, 90.0, 500.0),
    (4, 31, None, 0.6, 80.0, 900.0),
    (5, 13, "apple", 0.5, 70.0, 100.0),
    (6, 41, "lg", 0.4, 60.0, 10.0),
    (7, 22, "sony", 0.3, 50.0, 800.0),
    (8, 51, "bosch", None, -100.0, 0.5),
]
# The first is the most recent; the n-th was seen n hours before the end of the range.
BRANDS = {1: ["sony", "apple"], 2: ["bosch"], 3: ["nokia"], 4: ["lg", "nokia", "sony", "apple", "bosch"], 5: []}
# Twice, since the log may contain duplicates.
EVENTS = 2 * [(1, 11, "purchase"), (1, 21, "view"), (4, 41, "cart"), (4, 11, "remove_from_cart"), (4, 999, "purchase")]

INSTANT = pa.timestamp("us", tz="UTC")
LISTS = pa.list_(pa.struct([("brand", pa.string()), ("last_seen_at", INSTANT)]))
NOTHING_EXCLUDED = pa.table({"user_id": pa.array([], pa.int64()), "product_id": pa.array([], pa.int64())})
TREND_SCHEMA = pa.schema(
    [
        *(("window_from", INSTANT), ("window_to", INSTANT), ("rank", pa.int32()), ("product_id", pa.int64())),
        *(("brand", pa.string()), ("trend_score", pa.float64())),
        *(("total_pct_increase", pa.float64()), ("event_count", pa.float64())),
    ]
)

# user -> products, best first
Products = dict[int, list[int]]
Trend = tuple[int, int, str | None, float | None, float | None, float]


def rule(**changes: Any) -> RecommendationRule:
    numbers = {"top_trends": 200, "per_user": 10, "per_brand": 3}
    return RecommendationRule(**{**numbers, "order": "trend-rank", "leave_out": "none", "fallback": False, **changes})


def recommend(
    some: RecommendationRule, trends: list[Trend] = TRENDS, brands: dict[int, list[str]] = BRANDS
) -> list[dict[str, Any]]:
    """Return what the rule recommends to the users, by user and rank."""
    rows = [dict(zip(TREND_SCHEMA.names, (FROM, TO, *trend), strict=True)) for trend in trends]
    lists = [
        [{"brand": brand, "last_seen_at": TO - timedelta(hours=place)} for place, brand in enumerate(names, 1)]
        for names in brands.values()
    ]
    users = pa.record_batch({"user_id": pa.array(brands, pa.int64()), "brands": pa.array(lists, LISTS)})
    events = pa.table(dict(zip(("user_id", "product_id", "event_type"), zip(*EVENTS, strict=True), strict=True)))
    sql = f"SELECT DISTINCT user_id, product_id FROM events WHERE {EXCLUDED_SQL[some.leave_out]}"
    candidates = candidates_of(pa.Table.from_pylist(rows, TREND_SCHEMA), some)
    found = recommend_to(users, candidates, engine.query(sql, events=events), some)
    return sorted(found.to_pylist(), key=lambda row: (row["user_id"], row["rank"]))


def products(recommended: list[dict[str, Any]]) -> Products:
    found: Products = {}
    for row in recommended:
        found.setdefault(row["user_id"], []).append(row["product_id"])
        assert row["rank"] == len(found[row["user_id"]])
    return found


def test_every_row_carries_its_evidence() -> None:
    one, two = TO - timedelta(hours=1), TO - timedelta(hours=2)
    expected = [
        # user, rank, product, brand, trend rank, score, increase, position and last time of the brand, fallback
        (FROM, TO, 1, 1, 11, "apple", 1, 0.9, 150.0, 2, two, False),
        (FROM, TO, 1, 2, 21, "sony", 2, 0.8, None, 1, one, False),
        (FROM, TO, 1, 3, 12, "apple", 3, 0.7, 90.0, 2, two, False),
        (FROM, TO, 1, 4, 13, "apple", 5, 0.5, 70.0, 2, two, False),
        (FROM, TO, 1, 5, 22, "sony", 7, 0.3, 50.0, 1, one, False),
        (FROM, TO, 2, 1, 51, "bosch", 8, None, -100.0, 1, one, False),
    ]
    found = recommend(rule(), brands={user_id: BRANDS[user_id] for user_id in (1, 2, 3)})
    assert found == [dict(zip(RECOMMENDATION_COLUMNS, row, strict=True)) for row in expected]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Users without a match, 3 and 5, get nothing, and nobody gets a product without brand.
        ({}, {1: [11, 21, 12, 13, 22], 2: [51], 4: [11, 21, 12, 13, 41, 22, 51]}),
        ({"per_user": 2}, {1: [11, 21], 2: [51], 4: [11, 21]}),
        ({"per_brand": 1}, {1: [11, 21], 2: [51], 4: [11, 21, 41, 51]}),
        ({"per_brand": 1, "per_user": 3}, {1: [11, 21], 2: [51], 4: [11, 21, 41]}),
        ({"top_trends": 2}, {1: [11, 21], 4: [11, 21]}),
        ({"leave_out": "purchased"}, {1: [21, 12, 13, 22], 2: [51], 4: [11, 21, 12, 13, 41, 22, 51]}),
        # An excluded product takes no place of its brand.
        ({"leave_out": "purchased", "per_brand": 1}, {1: [21, 12], 2: [51], 4: [11, 21, 41, 51]}),
        ({"leave_out": "seen"}, {1: [12, 13, 22], 2: [51], 4: [21, 12, 13, 22, 51]}),
    ],
)
def test_how_many_are_recommended_and_which_are_excluded(changes: dict[str, Any], expected: Products) -> None:
    assert products(recommend(rule(**changes))) == expected


def test_a_fallback_fills_up_behind_the_matches_and_says_so() -> None:
    found = recommend(rule(fallback=True, per_user=5, per_brand=2, leave_out="seen"))
    assert products(found) == {
        1: [12, 13, 22, 31, 41],
        2: [51, 11, 21, 12, 31],
        3: [11, 21, 12, 31, 41],
        4: [21, 12, 13, 22, 51],
        5: [11, 21, 12, 31, 41],
    }
    filled = {(row["user_id"], row["product_id"]) for row in found if row["is_fallback"]}
    assert filled == {
        *((1, product_id) for product_id in (31, 41)),
        *((2, product_id) for product_id in (11, 21, 12, 31)),
        *((user_id, product_id) for user_id in (3, 5) for product_id in (11, 21, 12, 31, 41)),
    }
    # No brand of the user's is behind a fallback.
    for row in found:
        evidence = [row["brand_position"] is None, row["brand_last_seen_at"] is None]
        assert evidence == [row["is_fallback"]] * 2


def test_a_fallback_respects_the_limit_per_brand() -> None:
    # User 1 has apple and sony: their other products do not fill up the list.
    assert products(recommend(rule(fallback=True, per_brand=1))) == {
        1: [11, 21, 31, 41, 51],
        2: [51, 11, 21, 31, 41],
        3: [11, 21, 31, 41, 51],
        4: [11, 21, 41, 51, 31],
        5: [11, 21, 31, 41, 51],
    }


def test_of_trends_of_the_same_rank_the_more_recent_brand_comes_first_then_the_smaller_id() -> None:
    tied: list[Trend] = [
        (1, product_id, brand, 0.5, 1.0, 9.0) for product_id, brand in [(3, "apple"), (2, "apple"), (9, "sony")]
    ]
    assert products(recommend(rule(), tied, {1: BRANDS[1]})) == {1: [9, 2, 3]}


def test_by_relevance_popular_products_come_first_and_each_brand_gives_its_most_relevant() -> None:
    by_relevance, by_trend = (products(recommend(rule(order=o, per_brand=1))) for o in ("relevance", "trend-rank"))
    assert (by_relevance[1], by_trend[1]) == ([22, 12], [11, 21])
    assert by_relevance[4] == [22, 12, 41, 51]


POSITIONS = st.lists(st.sampled_from([f"brand {number}" for number in range(8)]), unique=True, min_size=1)


@given(
    figures=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 500), st.sampled_from([None, -1.0, 0.0, 0.7]))),
    names=POSITIONS,
    per_brand=st.integers(1, 3),
)
def test_relevance_follows_its_formula(
    figures: list[tuple[int, int, float | None]], names: list[str], per_brand: int
) -> None:
    rows = [
        {"product_id": 100 - rank, "brand": f"brand {brand}" if brand else None, "event_count": float(count)}
        | {"trend_score": score, "rank": rank, "window_from": FROM, "window_to": TO, "total_pct_increase": 1.0}
        for rank, (brand, count, score) in enumerate(figures, 1)
    ]
    of_brand = {row["brand"]: sum(r["event_count"] for r in rows if r["brand"] == row["brand"]) for row in rows}

    def key(row: dict[str, Any]) -> tuple[float, int, int]:
        count, total, score = row["event_count"], of_brand[row["brand"]], row["trend_score"] or 0.0
        place = names.index(row["brand"]) + 1
        logs = [math.log(max(each, 1)) for each in (count, total)]
        return -round(logs[0] - 0.3 * logs[1] + 0.5 * score - 0.25 * math.log(place), 9), place, row["product_id"]

    expected, taken = [], Counter[str]()
    for row in sorted((row for row in rows if row["brand"] in names), key=key):
        taken[row["brand"]] += 1
        if taken[row["brand"]] <= per_brand:
            expected.append((round(key(row)[0], 6), row["brand"]))
    trends = pa.Table.from_pylist(rows, TREND_SCHEMA)
    lists = [[{"brand": name, "last_seen_at": TO} for name in names]]
    users = pa.RecordBatch.from_pydict({"user_id": pa.array([7]), "brands": pa.array(lists, LISTS)})
    some = rule(order="relevance", per_brand=per_brand, per_user=100)
    found = recommend_to(users, candidates_of(trends, some), NOTHING_EXCLUDED, some).to_pylist()
    by_id = {row["product_id"]: row for row in rows}
    assert [(round(key(by_id[row["product_id"]])[0], 6), row["brand"]) for row in found] == expected
    assert [row["brand_position"] for row in found] == [names.index(row["brand"]) + 1 for row in found]


def test_the_order_of_the_input_does_not_matter() -> None:
    some = rule(fallback=True, per_user=4, leave_out="purchased")
    assert recommend(some, TRENDS[::-1], dict(reversed(BRANDS.items()))) == recommend(some)
