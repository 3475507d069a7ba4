"""What each competitor recommends at a cut: the rule with its orders, and what it has to beat.

Nobody is recommended what is to be left out. Ties go to the smaller product_id. Item-item kNN comes from a library, in
another environment (lambda_spark.evaluation.elsewhere).
"""

from collections.abc import Mapping
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa

from lambda_spark.evaluation.cases import Case
from lambda_spark.recommendations import RecommendationRule, candidates_of, recommend_to

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
