"""The recommendation rule: trending products whose brand is among a user's recent ones, in the order of a key.

A smaller key comes first. `order` chooses it:

    relevance    key = -(ln c - 0.3 ln C + 0.5 s - 0.25 ln p)
    trend-rank   key = trend rank, the rule of the original system

c is the product's event count in the window, C that of all candidates of its brand, s its trend score (0 if it has
none) and p the brand's position in the user's list, 1 for the most recent. Relevance is thus popularity, corrected for
the size of the brand, which says nothing about the user, times growth, times how fresh the interest is.
The weights were tuned on generated months and a grocery log: docs/evaluation.md has what was tried and the results.

Computed with NumPy over Arrow tables, a batch of users at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lambda_spark.engine import group_positions
from lambda_spark.schemas import RECOMMENDATION_COLUMNS

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

# From indices of candidates and the positions of their brands in users' lists to keys.
Key = Callable[[Indices, Indices], Numbers]

# SQL of whether an event of the window excludes its product, by the setting leave_out.
EXCLUDED_SQL = {"purchased": "event_type = 'purchase'", "seen": "true", "none": "false"}

_EVIDENCE = ("window_from", "window_to", "product_id", "brand", "trend_rank", "trend_score", "total_pct_increase")


class Weights(NamedTuple):
    """How much each part of the relevance counts."""

    popularity: float
    brand: float
    growth: float
    position: float


RELEVANCE = Weights(popularity=1.0, brand=0.3, growth=0.5, position=0.25)


@dataclass(frozen=True)
class RecommendationRule:
    """How many products are recommended, in which order, and which are excluded; the fields are the settings'.

    `order` is relevance, trend-rank, or other weights of the relevance.
    """

    order: str | Weights
    top_trends: int
    per_user: int
    per_brand: int
    leave_out: str
    fallback: bool


def order_key(order: str | Weights, candidates: pa.Table) -> Key:
    """Return the function that computes keys of these candidates in that order."""
    if order == "trend-rank":
        ranks = candidates["trend_rank"].to_numpy().astype(np.float64)
        return lambda candidate, _: ranks[candidate]
    weights = order if isinstance(order, Weights) else RELEVANCE
    relevance = _relevance(candidates, weights)
    return lambda candidate, position: weights.position * np.log(position) - relevance[candidate]


def candidates_of(trends: pa.Table, rule: RecommendationRule) -> pa.Table:
    """Return the products that may be recommended of a window's trends: by brand, best first. One row per product_id.

    Columns: the evidence, and event_count.
    """
    ranks = trends["rank"]
    best = trends.append_column("trend_rank", ranks).filter(pc.less_equal(ranks, rule.top_trends))
    candidates = best.select([*_EVIDENCE, "event_count"])
    every = np.arange(len(candidates))
    key = order_key(rule.order, candidates)(every, np.ones_like(every))
    by = [(name, "ascending") for name in ("brand", "key", "product_id")]
    return candidates.append_column("key", pa.array(key)).sort_by(by).drop_columns("key")


def recommend_to(users: pa.RecordBatch, candidates: pa.Table, excluded: pa.Table, rule: RecommendationRule) -> pa.Table:
    """Recommend candidates to users, rows of (user_id, brands), except for `excluded`, rows of (user_id, product_id).

    One row per (user_id, rank), columns as schemas.RECOMMENDATIONS.
    """
    pairs = _matches(candidates, users["brands"])
    if rule.fallback:
        pairs = _with_fallbacks(pairs, candidates, len(users))
    pairs = pairs.take(~_are_excluded(pairs, candidates, users["user_id"], excluded))
    return _rows(_best(pairs, candidates, users["brands"], rule), candidates, users)


@dataclass(frozen=True)
class _Pairs:
    """Pairs of a user and a candidate, as indices; the pairs of a user and brand are adjacent, the best first.

    `item` is the index of the brand among all brands of all lists, -1 for a fallback.
    """

    user: Indices
    candidate: Indices
    item: Indices

    def take(self, rows: NDArray[np.generic]) -> "_Pairs":
        """Return the pairs of these rows."""
        return _Pairs(self.user[rows], self.candidate[rows], self.item[rows])


def _relevance(candidates: pa.Table, weights: Weights) -> Numbers:
    """Return the part of each candidate's relevance that is the same for all users."""
    count = candidates["event_count"].to_numpy()
    brand = candidates["brand"].combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    of_brand = np.bincount(brand, count)[brand]
    growth = pc.fill_null(candidates["trend_score"], 0.0).to_numpy()
    # Event types may weigh so little that a count is below 1.
    log_count, log_of_brand = (np.log(np.maximum(each, 1)) for each in (count, of_brand))
    relevance: Numbers = weights.popularity * log_count - weights.brand * log_of_brand + weights.growth * growth
    return relevance


def _matches(candidates: pa.Table, lists: pa.ListArray) -> _Pairs:
    """Pair each user's brands with the candidates of that brand, which are adjacent."""
    brands = candidates["brand"].combine_chunks()
    names = pc.unique(brands.drop_null())
    first = pc.index_in(names, value_set=brands).to_numpy()
    count = np.diff(first, append=len(brands) - brands.null_count)
    found = pc.index_in(pc.list_flatten(lists).field("brand"), value_set=names)
    item = np.flatnonzero(pc.is_valid(found))
    name = found.take(pa.array(item)).to_numpy()
    user = pc.list_parent_indices(lists).take(pa.array(item)).to_numpy()
    each = np.repeat(np.arange(len(item)), count[name])
    return _Pairs(user[each], first[name][each] + group_positions(each), item[each])


def _with_fallbacks(pairs: _Pairs, candidates: pa.Table, users: int) -> _Pairs:
    """Add to every user the candidates of other brands."""
    is_paired = np.zeros((users, len(candidates)), dtype=bool)
    is_paired[pairs.user, pairs.candidate] = True
    user, candidate = np.nonzero(~is_paired)
    added = _Pairs(user, candidate, np.full(len(user), -1))
    return _Pairs(*(np.concatenate(both) for both in zip(vars(pairs).values(), vars(added).values(), strict=True)))


def _are_excluded(pairs: _Pairs, candidates: pa.Table, user_ids: pa.Array, excluded: pa.Table) -> NDArray[np.bool_]:
    user = pc.index_in(excluded["user_id"], value_set=user_ids)
    product = pc.index_in(excluded["product_id"], value_set=candidates["product_id"].combine_chunks())
    is_here = pc.and_(pc.is_valid(user), pc.is_valid(product))
    codes = user.filter(is_here).to_numpy().astype(np.int64) * len(candidates) + product.filter(is_here).to_numpy()
    return np.isin(pairs.user * len(candidates) + pairs.candidate, codes)


def _best(pairs: _Pairs, candidates: pa.Table, lists: pa.ListArray, rule: RecommendationRule) -> _Pairs:
    """Keep the first pairs of each user and brand, then of each user: by key, more recent brand, product_id."""
    brand = pc.rank(candidates["brand"].combine_chunks(), tiebreaker="dense").to_numpy().astype(np.int64)
    kept = pairs.take(group_positions(pairs.user, brand[pairs.candidate]) < rule.per_brand)
    product_id = candidates["product_id"].to_numpy()[kept.candidate]
    # The key of a fallback is the one it would have if its brand were the most recent.
    position = np.where(kept.item < 0, 1, _positions(kept, lists))
    key = order_key(rule.order, candidates)(kept.candidate, position)
    # A brand further down a list has a larger index among all brands of all lists.
    order = np.lexsort((product_id, kept.item, key, kept.item < 0, kept.user))
    ranked = kept.take(order)
    return ranked.take(group_positions(ranked.user) < rule.per_user)


def _positions(pairs: _Pairs, lists: pa.ListArray) -> Indices:
    """Return the position of each pair's brand in its user's list, from 1 on; meaningless for a fallback."""
    first = lists.offsets.to_numpy()[pairs.user] - lists.offsets[0].as_py()
    position: Indices = pairs.item - first + 1
    return position


def _rows(pairs: _Pairs, candidates: pa.Table, users: pa.RecordBatch) -> pa.Table:
    """Return the pairs with their evidence, columns as schemas.RECOMMENDATIONS."""
    lists = users["brands"]
    evidence = candidates.take(pa.array(pairs.candidate))
    item, is_fallback = pa.array(pairs.item, mask=pairs.item < 0), pairs.item < 0
    columns = {
        **{name: evidence[name] for name in _EVIDENCE},
        "user_id": users["user_id"].take(pa.array(pairs.user)),
        "rank": pa.array(group_positions(pairs.user) + 1, pa.int32()),
        "brand_position": pa.array(_positions(pairs, lists), pa.int32(), mask=is_fallback),
        "brand_last_seen_at": pc.list_flatten(lists).field("last_seen_at").take(item),
        "is_fallback": pa.array(is_fallback),
    }
    return pa.table({name: columns[name] for name in RECOMMENDATION_COLUMNS})
