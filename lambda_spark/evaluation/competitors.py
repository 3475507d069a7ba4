"""What each competitor recommends at a cut: the rule with its orders, and what it has to beat.

Nobody is recommended what is to be left out. Ties go to the smaller product_id. Item-item kNN comes from a library, in
another environment (lambda_spark.evaluation.elsewhere).

What else was tried for the order, with the rule or beyond it: docs/evaluation.md says what it gave.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark.evaluation.cases import Case
from lambda_spark.recommendations.rule import RELEVANCE, RecommendationRule, Weights, candidates_of, recommend_to

K = 20
_NOTHING = pa.schema([("user_id", pa.int64()), ("product_id", pa.int64()), ("rank", pa.int32())]).empty_table()

# More than K, since some of them may be left out.
OFFERED = 3 * K

_POPULAR = f"""
    SELECT user_id, product_id, score
    FROM judged, (SELECT product_id, {{count}} AS score FROM products ORDER BY score DESC, product_id LIMIT {OFFERED})
"""

_LAST_BRAND = """
    SELECT user_id, product_id, window_count AS score
    FROM (SELECT user_id, brands[1].brand AS brand FROM lists) JOIN products USING (brand) WHERE window_count > 0
"""


def simple_competitors(case: Case, seed: int = 0) -> dict[str, pa.Table]:
    """Return what the competitors without a model recommend. One row per (user_id, rank), K ranks at most."""
    offers = {
        "popularity": _POPULAR.format(count="history_count"),
        "recent popularity": _POPULAR.format(count="window_count"),
        "last brand's popularity": _LAST_BRAND,
        "random": "SELECT * FROM drawn",
    }
    tables = {**case._asdict(), "drawn": _random_offers(case, seed)}
    return {name: query(ranked(sql), tables) for name, sql in offers.items()}


def rule_recommends(case: Case, trends: pa.Table, rule: RecommendationRule) -> pa.Table:
    """Return what the rule recommends of a window's trends. One row per (user_id, rank), K ranks at most."""
    of_k = replace(rule, per_user=K)
    candidates = candidates_of(trends, of_k)
    batches = case.lists.select(["user_id", "brands"]).to_batches(max_chunksize=10_000)
    found = [recommend_to(batch, candidates, case.met, of_k) for batch in batches]
    return pa.concat_tables([_NOTHING, *(table.select(_NOTHING.column_names) for table in found)])


def _random_offers(case: Case, seed: int) -> pa.Table:
    """Draw products of the window for each user, each as likely as any other, none twice."""
    rng = np.random.default_rng(seed)
    products = rng.permutation(np.unique(case.training["product_id"].to_numpy()))
    first = rng.integers(0, len(products), len(case.judged))
    offered = min(OFFERED, len(products))
    drawn = products[(first[:, None] + np.arange(offered)) % len(products)]
    columns = {"user_id": np.repeat(case.judged["user_id"].to_numpy(), offered), "product_id": drawn.ravel()}
    return pa.table({**columns, "score": -np.tile(np.arange(offered), len(case.judged))})


def ranked(offers: str) -> str:
    """Return the SQL of each user's best offers but for what is left out, from that of (user_id, product_id, score)."""
    return f"""
        SELECT user_id, product_id, row_number() OVER (PARTITION BY user_id ORDER BY score DESC, product_id) AS rank
        FROM ({offers}) ANTI JOIN met USING (user_id, product_id) QUALIFY rank <= {K} ORDER BY user_id, rank
    """


def query(sql: str, tables: Mapping[str, pa.Table]) -> pa.Table:
    """Ask DuckDB for what the tables, by these names, say."""
    connection = duckdb.connect()
    for name, table in tables.items():
        connection.register(name, table)
    return connection.execute(sql).to_arrow_table()


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
