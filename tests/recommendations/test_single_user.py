"""The rule for one user is the rule for all: both give the same products, in the same order, to random users."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lambda_spark.recommendations.rule import RecommendationRule, candidates_of, recommend_to
from lambda_spark.recommendations.single_user import index_candidates, recommend_to_one
from lambda_spark.trends.windows import INSTANT

WEEK_END = datetime(2019, 11, 8, tzinfo=timezone.utc)
LISTS = pa.list_(pa.struct([("brand", pa.string()), ("last_seen_at", INSTANT)]))
LIMIT = 6
BRANDS = [*"abcdefgh"]

# Few counts and scores, so that keys tie.
trend = st.tuples(
    st.none() | st.sampled_from(BRANDS),
    st.sampled_from([0.5, 3.0, 40.0]),
    st.none() | st.sampled_from([-0.5, 0.0, 2.0]),
)
lists_of_brands = st.lists(st.sampled_from([*BRANDS, "z"]), unique=True, max_size=LIMIT)
rules = st.builds(
    RecommendationRule,
    order=st.sampled_from(["relevance", "trend-rank"]),
    top_trends=st.integers(1, 20),
    per_user=st.integers(1, 8),
    per_brand=st.integers(1, 3),
    leave_out=st.just("purchased"),
    fallback=st.booleans(),
)

Trend = tuple[str | None, float, float | None]


def trends_table(rows: list[Trend]) -> pa.Table:
    """Return trends with falling product ids, so that ties are visible; columns as schemas.TRENDS."""
    columns = {
        "window_from": pa.array([WEEK_END - timedelta(days=7)] * len(rows), INSTANT),
        "window_to": pa.array([WEEK_END] * len(rows), INSTANT),
        "rank": pa.array(range(1, len(rows) + 1), pa.int32()),
        "product_id": pa.array(range(len(rows), 0, -1), pa.int64()),
        "brand": pa.array([brand for brand, _, _ in rows], pa.string()),
        "trend_score": pa.array([score for _, _, score in rows], pa.float64()),
        "total_pct_increase": pa.array([10.0] * len(rows), pa.float64()),
        "event_count": pa.array([count for _, count, _ in rows], pa.float64()),
    }
    return pa.table(columns)


def for_all(
    trends: pa.Table, lists: list[list[str]], excluded: list[tuple[int, int]], rule: RecommendationRule
) -> list[tuple[Any, ...]]:
    """Return (user, rank, product, position) by the rule over Arrow tables."""
    seen = [
        [{"brand": brand, "last_seen_at": WEEK_END - timedelta(hours=place)} for place, brand in enumerate(names)]
        for names in lists
    ]
    users = pa.record_batch({"user_id": pa.array(range(len(lists)), pa.int64()), "brands": pa.array(seen, LISTS)})
    pairs = {
        name: pa.array([pair[place] for pair in excluded], pa.int64())
        for place, name in enumerate(("user_id", "product_id"))
    }
    found = recommend_to(users, candidates_of(trends, rule), pa.table(pairs), rule)
    columns = (found[name].to_pylist() for name in ("user_id", "rank", "product_id", "brand_position"))
    return sorted(zip(*columns, strict=True))


def one_by_one(
    trends: pa.Table, lists: list[list[str]], excluded: list[tuple[int, int]], rule: RecommendationRule
) -> list[tuple[Any, ...]]:
    """Return (user, rank, product, position) by the rule for a single user."""
    index = index_candidates(trends, rule, LIMIT)
    return [
        (user, rank, each.product_id, each.position)
        for user, names in enumerate(lists)
        for rank, each in enumerate(
            recommend_to_one(index, names, {p for u, p in excluded if u == user}, rule.per_user, rule.fallback), start=1
        )
    ]


@given(
    st.lists(trend, max_size=25),
    st.lists(lists_of_brands, min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(1, 25)), max_size=30),
    rules,
)
def test_both_forms_of_the_rule_recommend_the_same(
    rows: list[Trend], lists: list[list[str]], excluded: list[tuple[int, int]], rule: RecommendationRule
) -> None:
    trends = trends_table(rows)
    assert one_by_one(trends, lists, excluded, rule) == for_all(trends, lists, excluded, rule)


def test_fallbacks_come_after_the_own_brands_whatever_their_rank() -> None:
    rule = RecommendationRule("trend-rank", top_trends=9, per_user=9, per_brand=1, leave_out="none", fallback=True)
    index = index_candidates(
        trends_table([("a", 5.0, 1.0), ("a", 5.0, 1.0), ("b", 5.0, 1.0), ("c", 5.0, 1.0)]), rule, LIMIT
    )
    found = recommend_to_one(index, ["b"], (), 9, True)
    # By rank products 4 and 3 (of a), 2 (of b), 1 (of c); one of a brand.
    assert [(each.product_id, each.position) for each in found] == [(2, 1), (4, None), (1, None)]
    assert [each.product_id for each in recommend_to_one(index, ["b"], {4}, 2, True)] == [2, 3]
