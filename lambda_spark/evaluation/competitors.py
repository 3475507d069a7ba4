"""The lists of each competitor at a cut: the rule with its orders, simpler lists, and the variants that were tried.

Excluded products are in no list, except for two whose names say so. Ties go to the smaller product_id. Item-item kNN
comes from a library, in another environment (score_lists.py). docs/evaluation.md has the results of the variants.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark import engine
from lambda_spark.evaluation.cases import Case
from lambda_spark.recommendations.rule import RELEVANCE, RecommendationRule, Weights, candidates_of, recommend_to

K = 20
_NOTHING = pa.schema([("user_id", pa.int64()), ("product_id", pa.int64()), ("rank", pa.int32())]).empty_table()

# The candidates of a user: more than K, since some may be excluded.
_CANDIDATES = 3 * K

_POPULAR = f"""
    SELECT user_id, product_id, score
    FROM judged CROSS JOIN
        (SELECT product_id, {{count}} AS score FROM products ORDER BY score DESC, product_id LIMIT {_CANDIDATES})
"""

_LAST_BRAND = """
    SELECT user_id, product_id, window_count AS score
    FROM (SELECT user_id, brands[1].brand AS brand FROM lists) JOIN products USING (brand) WHERE window_count > 0
"""

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

# All products, also those without a brand; a product of a recent brand counts several times.
_ALL_PRODUCTS = f"""
    SELECT user_id, product_id, window_count * coalesce(greatest(exp(1.5) / sqrt(position), 1), 1) AS score
    FROM (
        SELECT user_id, product_id, brand, window_count
        FROM judged CROSS JOIN (FROM products ORDER BY window_count DESC, product_id LIMIT {_CANDIDATES})
        UNION SELECT user_id, product_id, brand, window_count FROM positions JOIN products USING (brand)
    ) LEFT JOIN positions USING (user_id, brand)
    WHERE window_count > 0
"""

_OWN_PRODUCTS = "SELECT user_id, product_id, history_count AS score FROM interacted JOIN products USING (product_id)"

_POSITIONS = """
    SELECT user_id, unnest(brands).brand AS brand, generate_subscripts(brands, 1) AS position FROM lists
"""

# The number of a brand's products that a user interacted with approximates how often the brand was browsed.
_BY_FREQUENCY = """
    SELECT user_id, list(struct_pack(brand, last_seen_at) ORDER BY count DESC, last_seen_at DESC, brand) AS brands
    FROM (SELECT user_id, unnest(brands, recursive := true) FROM lists)
    LEFT JOIN (SELECT user_id, brand, count(*) AS count FROM interacted JOIN products USING (product_id) GROUP BY ALL)
    USING (user_id, brand) GROUP BY user_id ORDER BY user_id
"""


def simple_competitors(case: Case, seed: int = 0) -> dict[str, pa.Table]:
    """Return the lists of the competitors without a model, by name. One row per (user_id, rank), at most K ranks."""
    queries = {
        "popularity": _POPULAR.format(count="history_count"),
        "recent popularity": _POPULAR.format(count="window_count"),
        "last brand's popularity": _LAST_BRAND,
        "random": "SELECT * FROM drawn",
    }
    tables = {**case._asdict(), "drawn": _random_candidates(case, seed)}
    return {name: engine.query(_ranked(sql), **tables) for name, sql in queries.items()}


def rule_recommends(case: Case, trends: pa.Table, rule: RecommendationRule) -> pa.Table:
    """Recommend the trends of a window by the rule. One row per (user_id, rank), at most K ranks."""
    of_k = replace(rule, per_user=K)
    candidates = candidates_of(trends, of_k)
    batches = case.lists.select(["user_id", "brands"]).to_batches(max_chunksize=10_000)
    lists = [recommend_to(batch, candidates, case.excluded, of_k) for batch in batches]
    return pa.concat_tables([_NOTHING, *(table.select(_NOTHING.column_names) for table in lists)])


def tried(case: Case, trends: pa.Table, rule: RecommendationRule) -> Iterator[tuple[str, pa.Table]]:
    """Yield each variant that was tried and its lists. One row per (user_id, rank)."""
    for name, changes in _RULES.items():
        yield name, rule_recommends(case, trends, replace(rule, **changes))
    rising = trends.filter(pc.greater(trends["trend_score"], 0.0))
    yield "relevance, only what grows", rule_recommends(case, rising, rule)
    by_frequency = engine.query(_BY_FREQUENCY, **case._asdict()).cast(case.lists.schema)
    yield "relevance, brands by frequency", rule_recommends(case._replace(lists=by_frequency), trends, rule)
    yield (
        "relevance, nothing left out",
        rule_recommends(case._replace(excluded=case.excluded.slice(0, 0)), trends, rule),
    )


def beyond_the_rule(case: Case) -> Iterator[tuple[str, pa.Table]]:
    """Yield lists of products that need not be trending or of a recent brand. One row per (user_id, rank)."""
    tables = {**case._asdict(), "positions": engine.query(_POSITIONS, **case._asdict())}
    yield "all products, recent brands first", engine.query(_ranked(_ALL_PRODUCTS), **tables)
    anything = {**tables, "excluded": case.excluded.slice(0, 0)}
    yield "user's own products", engine.query(_ranked(_OWN_PRODUCTS), **anything)


def _random_candidates(case: Case, seed: int) -> pa.Table:
    """Draw products of the window for each user, all equally likely, none twice."""
    rng = np.random.default_rng(seed)
    products = rng.permutation(np.unique(case.training["product_id"].to_numpy()))
    first = rng.integers(0, len(products), len(case.judged))
    count = min(_CANDIDATES, len(products))
    drawn = products[(first[:, None] + np.arange(count)) % len(products)]
    columns = {"user_id": np.repeat(case.judged["user_id"].to_numpy(), count), "product_id": drawn.ravel()}
    return pa.table({**columns, "score": -np.tile(np.arange(count), len(case.judged))})


def _ranked(candidates: str) -> str:
    """Return SQL of each user's K best products that aren't excluded, from SQL of (user_id, product_id, score)."""
    return f"""
        SELECT user_id, product_id, row_number() OVER (PARTITION BY user_id ORDER BY score DESC, product_id) AS rank
        FROM ({candidates}) ANTI JOIN excluded USING (user_id, product_id) QUALIFY rank <= {K} ORDER BY user_id, rank
    """
