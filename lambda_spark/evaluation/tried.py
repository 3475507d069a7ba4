"""What else was tried for the order, with the rule or beyond it: docs/evaluation.md says what it gave."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark.evaluation.cases import Case
from lambda_spark.evaluation.competitors import OFFERED, K, query, ranked, rule_recommends
from lambda_spark.recommendation_order import RELEVANCE, Weights
from lambda_spark.recommendations import RecommendationRule

_RULES: dict[str, dict[str, Any]] = {
    "rule by brand recency, trend score": {"order": Weights(0, 0, 1e-6, 1)},
    "rule by brand recency, popularity": {"order": Weights(1e-6, 0, 0, 1)},
    "rule by popularity": {"order": Weights(1, 0, 0, 0)},
    "rule by popularity × growth": {"order": RELEVANCE._replace(brand=0, position=0)},
    "rule by popularity × recency": {"order": RELEVANCE._replace(brand=0, growth=0)},
    "rule by popularity in brand × recency": {"order": RELEVANCE._replace(brand=1, growth=0)},
    "relevance without growth": {"order": RELEVANCE._replace(growth=0)},
    "relevance, growth twice": {"order": RELEVANCE._replace(growth=1)},
    "relevance without the brand": {"order": RELEVANCE._replace(brand=0)},
    "relevance, brand 0.5": {"order": RELEVANCE._replace(brand=0.5)},
    "relevance, position 0": {"order": RELEVANCE._replace(position=0)},
    "relevance, position 0.5": {"order": RELEVANCE._replace(position=0.5)},
    "relevance, 50 trends": {"top_trends": 50},
    "relevance, 200 trends": {"top_trends": 200},
    "relevance, 3 of a brand": {"per_brand": 3},
    "relevance, 10 of a brand": {"per_brand": 10},
    "relevance, any number of a brand": {"per_brand": K},
}
# The products of recent brands count several times, beside those of all other brands and of none.
_ALL_PRODUCTS = f"""
    SELECT user_id, product_id, window_count * coalesce(greatest(exp(1.5) / sqrt(position), 1), 1) AS score
    FROM (
        SELECT user_id, product_id, brand, window_count
        FROM judged CROSS JOIN (FROM products ORDER BY window_count DESC, product_id LIMIT {OFFERED})
        UNION SELECT user_id, product_id, brand, window_count FROM places JOIN products USING (brand)
    ) LEFT JOIN places USING (user_id, brand)
    WHERE window_count > 0
"""
_OWN_PRODUCTS = "SELECT user_id, product_id, history_count AS score FROM known JOIN products USING (product_id)"
_PLACES = """
    SELECT user_id, unnest(brands).brand AS brand, generate_subscripts(brands, 1) AS position FROM lists
"""
# A brand's number of known products stands for how often it was browsed: the state has no counts.
_BY_FREQUENCY = """
    SELECT user_id, list(struct_pack(brand, last_seen_at) ORDER BY count DESC, last_seen_at DESC, brand) AS brands
    FROM (SELECT user_id, unnest(brands, recursive := true) FROM lists)
    LEFT JOIN (SELECT user_id, brand, count(*) AS count FROM known JOIN products USING (product_id) GROUP BY ALL)
    USING (user_id, brand) GROUP BY user_id ORDER BY user_id
"""


def tried(case: Case, trends: pa.Table, rule: RecommendationRule) -> Iterator[tuple[str, pa.Table]]:
    """Yield the name of each order that was tried and what it recommends, one row per (user_id, rank)."""
    for name, changes in _RULES.items():
        yield name, rule_recommends(case, trends, replace(rule, **changes))
    rising = trends.filter(pc.greater(trends["trend_score"], 0.0))
    yield "relevance, only what grows", rule_recommends(case, rising, rule)
    by_frequency = query(_BY_FREQUENCY, case._asdict()).cast(case.lists.schema)
    yield "relevance, brands by frequency", rule_recommends(case._replace(lists=by_frequency), trends, rule)
    yield "relevance, nothing left out", rule_recommends(case._replace(met=case.met.slice(0, 0)), trends, rule)


def beyond_the_rule(case: Case) -> Iterator[tuple[str, pa.Table]]:
    """Yield what would be recommended if it had not to be trending and of a brand the user looks at."""
    tables = {**case._asdict(), "places": query(_PLACES, case._asdict())}
    yield "all products, recent brands first", query(ranked(_ALL_PRODUCTS), tables)
    anything = {**tables, "met": case.met.slice(0, 0)}
    yield "user's own products", query(ranked(_OWN_PRODUCTS), anything)
