"""Recommendations: trends of a user's recent brands, with the evidence in every row."""

import math
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest
from chispa import assert_df_equality
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from lambda_spark.delta.parquet_files import as_map_in_arrow
from lambda_spark.recommendations.rule import EXCLUDED_SQL, RecommendationRule, candidates_of, recommend_to
from lambda_spark.schemas import RECOMMENDATIONS, USER_BRANDS
from lambda_spark.serving.recommender import row_builder

UTC = timezone.utc
FROM, TO = datetime(2019, 11, 1, tzinfo=UTC), datetime(2019, 11, 8, tzinfo=UTC)
COLUMNS = (
    "window_from timestamp, window_to timestamp, rank int, product_id bigint, brand string, trend_score double, "
    "total_pct_increase double, event_count double"
)

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
EVENTS = [(1, 11, "purchase"), (1, 21, "view"), (4, 41, "cart"), (4, 11, "remove_from_cart"), (4, 999, "purchase")]

INSTANT = pa.timestamp("us", tz="UTC")
LISTS = pa.list_(pa.struct([("brand", pa.string()), ("last_seen_at", INSTANT)]))
NOBODY_MET_ANYTHING = pa.table({"user_id": pa.array([], pa.int64()), "product_id": pa.array([], pa.int64())})
TREND_SCHEMA = pa.schema(
    [
        *(("window_from", INSTANT), ("window_to", INSTANT), ("rank", pa.int32()), ("product_id", pa.int64())),
        *(("brand", pa.string()), ("trend_score", pa.float64())),
        *(("total_pct_increase", pa.float64()), ("event_count", pa.float64())),
    ]
)

# user -> products, best first
Products = dict[int, list[int]]


def recommendations(trends: DataFrame, brands: DataFrame, events: DataFrame, rule: RecommendationRule) -> DataFrame:
    excluded = events.where(EXCLUDED_SQL[rule.leave_out]).select("user_id", "product_id").distinct().toArrow()
    recommend = as_map_in_arrow(row_builder(trends.toArrow(), excluded, rule))
    return brands.select("user_id", "brands").mapInArrow(recommend, RECOMMENDATIONS)


@pytest.fixture(scope="module")
def trends(spark: SparkSession) -> DataFrame:
    rows = [(FROM, TO, *trend) for trend in TRENDS]
    return spark.createDataFrame(rows, COLUMNS).cache()


@pytest.fixture(scope="module")
def brands(spark: SparkSession) -> DataFrame:
    lists = [
        (user_id, [(brand, TO - timedelta(hours=place)) for place, brand in enumerate(names, 1)])
        for user_id, names in BRANDS.items()
    ]
    return spark.createDataFrame(lists, USER_BRANDS).cache()


@pytest.fixture(scope="module")
def events(spark: SparkSession) -> DataFrame:
    # Twice, as the log may have it.
    return spark.createDataFrame(EVENTS * 2, "user_id bigint, product_id bigint, event_type string").cache()


def rule(**changes: Any) -> RecommendationRule:
    numbers = {"top_trends": 200, "per_user": 10, "per_brand": 3}
    return RecommendationRule(**{**numbers, "order": "origin", "leave_out": "none", "fallback": False, **changes})


def products(recommended: DataFrame) -> Products:
    found: Products = {}
    for row in recommended.orderBy("user_id", "rank").collect():
        found.setdefault(row.user_id, []).append(row.product_id)
        assert row["rank"] == len(found[row.user_id])
    return found


def test_every_row_carries_its_evidence(
    spark: SparkSession, trends: DataFrame, brands: DataFrame, events: DataFrame
) -> None:
    one, two = TO - timedelta(hours=1), TO - timedelta(hours=2)
    expected = [
        # user, rank, product, brand, trend rank, score, increase, place and last time of the brand, fallback
        (FROM, TO, 1, 1, 11, "apple", 1, 0.9, 150.0, 2, two, False),
        (FROM, TO, 1, 2, 21, "sony", 2, 0.8, None, 1, one, False),
        (FROM, TO, 1, 3, 12, "apple", 3, 0.7, 90.0, 2, two, False),
        (FROM, TO, 1, 4, 13, "apple", 5, 0.5, 70.0, 2, two, False),
        (FROM, TO, 1, 5, 22, "sony", 7, 0.3, 50.0, 1, one, False),
        (FROM, TO, 2, 1, 51, "bosch", 8, None, -100.0, 1, one, False),
    ]
    assert_df_equality(
        recommendations(trends, brands.where("user_id in (1, 2, 3)"), events, rule()),
        spark.createDataFrame(expected, RECOMMENDATIONS),
        ignore_row_order=True,
        ignore_nullable=True,
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # Users without a match, 3 and 5, get nothing; nor does anybody get a product without brand.
        ({}, {1: [11, 21, 12, 13, 22], 2: [51], 4: [11, 21, 12, 13, 41, 22, 51]}),
        ({"per_user": 2}, {1: [11, 21], 2: [51], 4: [11, 21]}),
        ({"per_brand": 1}, {1: [11, 21], 2: [51], 4: [11, 21, 41, 51]}),
        ({"per_brand": 1, "per_user": 3}, {1: [11, 21], 2: [51], 4: [11, 21, 41]}),
        ({"top_trends": 2}, {1: [11, 21], 4: [11, 21]}),
        ({"leave_out": "purchased"}, {1: [21, 12, 13, 22], 2: [51], 4: [11, 21, 12, 13, 41, 22, 51]}),
        # What is left out takes no place among those of its brand.
        ({"leave_out": "purchased", "per_brand": 1}, {1: [21, 12], 2: [51], 4: [11, 21, 41, 51]}),
        ({"leave_out": "seen"}, {1: [12, 13, 22], 2: [51], 4: [21, 12, 13, 22, 51]}),
    ],
)
def test_how_many_and_what_is_left_out(
    trends: DataFrame, brands: DataFrame, events: DataFrame, changes: dict[str, Any], expected: Products
) -> None:
    assert products(recommendations(trends, brands, events, rule(**changes))) == expected


def test_a_fallback_fills_up_behind_the_matches_and_says_so(
    trends: DataFrame, brands: DataFrame, events: DataFrame
) -> None:
    found = recommendations(
        trends, brands, events, rule(fallback=True, per_user=5, per_brand=2, leave_out="seen")
    ).cache()
    assert products(found) == {
        1: [12, 13, 22, 31, 41],
        2: [51, 11, 21, 12, 31],
        3: [11, 21, 12, 31, 41],
        4: [21, 12, 13, 22, 51],
        5: [11, 21, 12, 31, 41],
    }
    filled = {(row.user_id, row.product_id) for row in found.where("is_fallback").collect()}
    assert filled == {
        *((1, product_id) for product_id in (31, 41)),
        *((2, product_id) for product_id in (11, 21, 12, 31)),
        *((user_id, product_id) for user_id in (3, 5) for product_id in (11, 21, 12, 31, 41)),
    }
    # There is no brand of the user's behind it.
    assert found.where("is_fallback AND (brand_position IS NOT NULL OR brand_last_seen_at IS NOT NULL)").isEmpty()
    assert found.where("NOT is_fallback AND brand_position IS NULL").isEmpty()


def test_a_fallback_never_goes_beyond_what_a_brand_may_have(
    trends: DataFrame, brands: DataFrame, events: DataFrame
) -> None:
    found = products(recommendations(trends, brands, events, rule(fallback=True, per_brand=1)))
    # User 1 knows apple and sony: their other products are no filler.
    assert found == {
        1: [11, 21, 31, 41, 51],
        2: [51, 11, 21, 31, 41],
        3: [11, 21, 31, 41, 51],
        4: [11, 21, 41, 51, 31],
        5: [11, 21, 31, 41, 51],
    }


def test_of_trends_of_the_same_rank_the_more_recent_brand_comes_first_then_the_smaller_id(
    spark: SparkSession, trends: DataFrame, brands: DataFrame, events: DataFrame
) -> None:
    tied = spark.createDataFrame(
        [
            (FROM, TO, 1, product_id, brand, 0.5, 1.0, 9.0)
            for product_id, brand in [(3, "apple"), (2, "apple"), (9, "sony")]
        ],
        trends.schema,
    )
    assert products(recommendations(tied, brands.where("user_id = 1"), events, rule())) == {1: [9, 2, 3]}


def test_by_relevance_what_is_popular_comes_first_and_each_brand_gives_its_most_relevant(
    trends: DataFrame, brands: DataFrame, events: DataFrame
) -> None:
    by_relevance = products(recommendations(trends, brands, events, rule(order="relevance", per_brand=1)))
    by_trend = products(recommendations(trends, brands, events, rule(order="origin", per_brand=1)))
    assert (by_relevance[1], by_trend[1]) == ([22, 12], [11, 21])
    assert by_relevance[4] == [22, 12, 41, 51]


POSITIONS = st.lists(st.sampled_from([f"brand {number}" for number in range(8)]), unique=True, min_size=1)


@given(
    figures=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 500), st.sampled_from([None, -1.0, 0.0, 0.7]))),
    names=POSITIONS,
    per_brand=st.integers(1, 3),
)
def test_relevance_is_what_its_formula_says(
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
    found = recommend_to(users, candidates_of(trends, some), NOBODY_MET_ANYTHING, some).to_pylist()
    by_id = {row["product_id"]: row for row in rows}
    assert [(round(key(by_id[row["product_id"]])[0], 6), row["brand"]) for row in found] == expected
    assert [row["brand_position"] for row in found] == [names.index(row["brand"]) + 1 for row in found]


def test_the_order_of_the_input_does_not_matter(trends: DataFrame, brands: DataFrame, events: DataFrame) -> None:
    some = rule(fallback=True, per_user=4, leave_out="purchased")
    shuffled = [frame.orderBy(key, ascending=False) for frame, key in ((trends, "rank"), (brands, "user_id"))]
    assert_df_equality(
        recommendations(*shuffled, events.repartition(3), some),
        recommendations(trends, brands, events, some),
        ignore_row_order=True,
    )
