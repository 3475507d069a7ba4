"""In which order the products offered to a user are recommended. A smaller key comes first.

    relevance    key = -(ln c - 0.3 ln C + 0.5 s - 0.25 ln p)
    origin       key = trend rank

c is the product's event count in the window, C that of all candidates of its brand, s its trend score (0 where there is
none) and p the brand's position in the user's list, 1 for the most recent. Relevance is thus popularity, of which a
large brand's products have more without telling anything of the user, times growth, times how fresh the interest is.
The weights were tuned on generated months and a grocery log: docs/evaluation.md says what was tried and what it gave.

The recommendation rule: the trending products whose brand is among a user's recent ones, the most relevant first.

Over Arrow tables, a batch of users at a time; lambda_spark.recommender does it for all of them in Spark.
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

# From the places of candidates and the positions of their brands to their keys.
Key = Callable[[NDArray[np.int64], NDArray[np.int64]], Numbers]


class Weights(NamedTuple):
    """How much each part of the relevance counts."""

    popularity: float
    brand: float
    growth: float
    position: float


RELEVANCE = Weights(popularity=1.0, brand=0.3, growth=0.5, position=0.25)


def order_key(order: str | Weights, candidates: pa.Table) -> Key:
    """Return what gives the key of offers: by `origin`, by `relevance`, or by other weights than these."""
    if order == "origin":
        ranks = candidates["trend_rank"].to_numpy().astype(np.float64)
        return lambda candidate, _: ranks[candidate]
    weights = order if isinstance(order, Weights) else RELEVANCE
    relevance = _relevance(candidates, weights)
    return lambda candidate, position: weights.position * np.log(position) - relevance[candidate]


def _relevance(candidates: pa.Table, weights: Weights) -> Numbers:
    """Return the part that is the same for all users."""
    count = candidates["event_count"].to_numpy()
    brand = candidates["brand"].combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    of_brand = np.bincount(brand, count)[brand]
    growth = pc.fill_null(candidates["trend_score"], 0.0).to_numpy()
    # Event types may weigh so little that a count is below 1.
    log_count, log_of_brand = (np.log(np.maximum(each, 1)) for each in (count, of_brand))
    relevance: Numbers = weights.popularity * log_count - weights.brand * log_of_brand + weights.growth * growth
    return relevance


_EVIDENCE = ("window_from", "window_to", "product_id", "brand", "trend_rank", "trend_score", "total_pct_increase")

# SQL of whether a product is left out because of an event of the window.
EXCLUDED_SQL = {"purchased": "event_type = 'purchase'", "seen": "true", "none": "false"}
Places = NDArray[np.int64]


@dataclass(frozen=True)
class RecommendationRule:
    """How many products are recommended, in which order (recommendation_order), and which are left out."""

    order: str | Weights
    top_trends: int
    per_user: int
    per_brand: int
    leave_out: str
    fallback: bool


@dataclass(frozen=True)
class _Offers:
    """Products offered to users, the places of both; those of a user and brand stand together, the best first.

    `item` is the place of the brand among all brands of all lists, or -1 for a fallback.
    """

    user: Places
    candidate: Places
    item: Places

    def take(self, rows: NDArray[np.generic]) -> "_Offers":
        """Return some of them."""
        return _Offers(self.user[rows], self.candidate[rows], self.item[rows])


def candidates_of(trends: pa.Table, rule: RecommendationRule) -> pa.Table:
    """Return what may be recommended of a window's trends, as recommend_to takes it. One row per product_id."""
    ranks = trends["rank"]
    named = trends.append_column("trend_rank", ranks).filter(pc.less_equal(ranks, rule.top_trends))
    candidates = named.select([*_EVIDENCE, "event_count"])
    all_of_them = np.arange(len(candidates))
    key = order_key(rule.order, candidates)(all_of_them, np.ones_like(all_of_them))
    by = [(name, "ascending") for name in ("brand", "key", "product_id")]
    return candidates.append_column("key", pa.array(key)).sort_by(by).drop_columns("key")


def recommend_to(users: pa.RecordBatch, candidates: pa.Table, met: pa.Table, rule: RecommendationRule) -> pa.Table:
    """Recommend to the users, rows of (user_id, brands), but what they have met, rows of (user_id, product_id).

    One row per (user_id, rank), columns as schemas.RECOMMENDATIONS.
    """
    offers = _matches(candidates, users["brands"])
    if rule.fallback:
        offers = _with_fallbacks(offers, candidates, len(users))
    offers = offers.take(~_are_met(offers, candidates, users["user_id"], met))
    return _rows(_best(offers, candidates, users["brands"], rule), candidates, users)


def _matches(candidates: pa.Table, lists: pa.ListArray) -> _Offers:
    """Pair each user's brands with the candidates of that brand, which stand together."""
    brands = candidates["brand"].combine_chunks()
    names = pc.unique(brands.drop_null())
    first = pc.index_in(names, value_set=brands).to_numpy()
    count = np.diff(first, append=len(brands) - brands.null_count)
    found = pc.index_in(pc.list_flatten(lists).field("brand"), value_set=names)
    item = np.flatnonzero(pc.is_valid(found))
    name = found.take(pa.array(item)).to_numpy()
    user = pc.list_parent_indices(lists).take(pa.array(item)).to_numpy()
    each = np.repeat(np.arange(len(item)), count[name])
    return _Offers(user[each], first[name][each] + group_positions(each), item[each])


def _with_fallbacks(offers: _Offers, candidates: pa.Table, users: int) -> _Offers:
    """Offer every user the trends of other brands too."""
    is_offered = np.zeros((users, len(candidates)), dtype=bool)
    is_offered[offers.user, offers.candidate] = True
    user, candidate = np.nonzero(~is_offered)
    added = _Offers(user, candidate, np.full(len(user), -1))
    return _Offers(*(np.concatenate(both) for both in zip(vars(offers).values(), vars(added).values(), strict=True)))


def _are_met(offers: _Offers, candidates: pa.Table, user_ids: pa.Array, met: pa.Table) -> NDArray[np.bool_]:
    user = pc.index_in(met["user_id"], value_set=user_ids)
    product = pc.index_in(met["product_id"], value_set=candidates["product_id"].combine_chunks())
    is_here = pc.and_(pc.is_valid(user), pc.is_valid(product))
    pairs = user.filter(is_here).to_numpy().astype(np.int64) * len(candidates) + product.filter(is_here).to_numpy()
    return np.isin(offers.user * len(candidates) + offers.candidate, pairs)


def _best(offers: _Offers, candidates: pa.Table, lists: pa.ListArray, rule: RecommendationRule) -> _Offers:
    """Keep of each user and brand the first ones, then of each user: the smallest key first, then the newer brand."""
    brand = pc.rank(candidates["brand"].combine_chunks(), tiebreaker="dense").to_numpy().astype(np.int64)
    kept = offers.take(group_positions(offers.user, brand[offers.candidate]) < rule.per_brand)
    product_id = candidates["product_id"].to_numpy()[kept.candidate]
    # A fallback stands where it would if its brand were the newest.
    position = np.where(kept.item < 0, 1, _positions(kept, lists))
    key = order_key(rule.order, candidates)(kept.candidate, position)
    # A brand further down a list has a larger place among all brands of all lists.
    order = np.lexsort((product_id, kept.item, key, kept.item < 0, kept.user))
    ranked = kept.take(order)
    return ranked.take(group_positions(ranked.user) < rule.per_user)


def _positions(offers: _Offers, lists: pa.ListArray) -> Places:
    """Return the position of each offer's brand in its user's list, from 1 on; it says nothing of a fallback."""
    first = lists.offsets.to_numpy()[offers.user] - lists.offsets[0].as_py()
    position: Places = offers.item - first + 1
    return position


def _rows(offers: _Offers, candidates: pa.Table, users: pa.RecordBatch) -> pa.Table:
    """Return the offers with their evidence, columns as schemas.RECOMMENDATIONS."""
    lists = users["brands"]
    evidence = candidates.take(pa.array(offers.candidate))
    item, is_fallback = pa.array(offers.item, mask=offers.item < 0), offers.item < 0
    columns = {
        **{name: evidence[name] for name in _EVIDENCE},
        "user_id": users["user_id"].take(pa.array(offers.user)),
        "rank": pa.array(group_positions(offers.user) + 1, pa.int32()),
        "brand_position": pa.array(_positions(offers, lists), pa.int32(), mask=is_fallback),
        "brand_last_seen_at": pc.list_flatten(lists).field("last_seen_at").take(item),
        "is_fallback": pa.array(is_fallback),
    }
    return pa.table({name: columns[name] for name in RECOMMENDATION_COLUMNS})
