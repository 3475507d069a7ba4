"""The recommendation rule: the trending products whose brand is among a user's recent ones, best trend first.

Trends are few and users many, so each task gets all candidates and goes through its users, a batch of them at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lambda_spark.parquet_files import MakeRows
from lambda_spark.runs import places
from lambda_spark.schemas import RECOMMENDATION_COLUMNS

_EVIDENCE = ("window_from", "window_to", "product_id", "brand", "trend_rank", "trend_score", "total_pct_increase")

Places = NDArray[np.int64]


@dataclass(frozen=True)
class RecommendationRule:
    """How many products are recommended, and which are left out."""

    top_trends: int
    per_user: int
    per_brand: int
    leave_out: str
    fallback: bool


@dataclass(frozen=True)
class _Offers:
    """Products offered to users, the places of both; those of a user and brand stand together, best trend first.

    `item` is the place of the brand among all brands of all lists, or -1 for a fallback.
    """

    user: Places
    candidate: Places
    item: Places

    def take(self, rows: NDArray[np.generic]) -> "_Offers":
        """Return some of them."""
        return _Offers(self.user[rows], self.candidate[rows], self.item[rows])


def recommender(trends: DataFrame, events: DataFrame, rule: RecommendationRule) -> MakeRows:
    """Return what recommends trends to users, rows of (user_id, brands): one row per (window, user_id, rank).

    `trends` holds one window, `events` are those of it: what a user bought (or met, as `leave_out` says) in it is left
    out. Columns as schemas.RECOMMENDATIONS.
    """
    ranked = trends.where(F.col("rank") <= rule.top_trends).withColumnRenamed("rank", "trend_rank")
    candidates = ranked.select(*_EVIDENCE).orderBy(F.asc_nulls_last("brand"), "trend_rank", "product_id").toArrow()
    met = _met(events, candidates["product_id"].to_pylist(), rule.leave_out).toArrow()

    def recommend(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table]]:
        for batch in batches:
            offers = _matches(candidates, batch["brands"])
            if rule.fallback:
                offers = _with_fallbacks(offers, candidates, len(batch))
            offers = offers.take(~_are_met(offers, candidates, batch["user_id"], met))
            yield (_rows(_best(offers, candidates, rule), candidates, batch),)

    return recommend


def _met(events: DataFrame, product_ids: list[int], leave_out: str) -> DataFrame:
    """Return what users have met of the products, as far as it is to be left out. One row per (user_id, product_id)."""
    is_met = {"purchased": F.col("event_type") == "purchase", "seen": F.lit(True), "none": F.lit(False)}[leave_out]
    return events.where(is_met & F.col("product_id").isin(product_ids)).select("user_id", "product_id").distinct()


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
    return _Offers(user[each], first[name][each] + places(each), item[each])


def _with_fallbacks(offers: _Offers, candidates: pa.Table, users: int) -> _Offers:
    """Offer every user the trends of other brands too."""
    is_offered = np.zeros((users, len(candidates)), dtype=bool)
    is_offered[offers.user, offers.candidate] = True
    user, candidate = np.nonzero(~is_offered)
    added = _Offers(user, candidate, np.full(len(user), -1))
    return _Offers(*(np.concatenate(both) for both in zip(vars(offers).values(), vars(added).values(), strict=True)))


def _are_met(offers: _Offers, candidates: pa.Table, user_ids: pa.Array, met: pa.Table) -> NDArray[np.bool_]:
    user = pc.index_in(met["user_id"], value_set=user_ids)
    here = met.filter(pc.is_valid(user))
    product = pc.index_in(here["product_id"], value_set=candidates["product_id"].combine_chunks()).to_numpy()
    pairs = user.drop_null().to_numpy() * len(candidates) + product
    return np.isin(offers.user * len(candidates) + offers.candidate, pairs)


def _best(offers: _Offers, candidates: pa.Table, rule: RecommendationRule) -> _Offers:
    """Keep of each user and brand the first ones, then of each user: best trend first, then the more recent brand."""
    brand = pc.rank(candidates["brand"].combine_chunks(), tiebreaker="dense").to_numpy().astype(np.int64)
    kept = offers.take(places(offers.user, brand[offers.candidate]) < rule.per_brand)
    trend_rank, product_id = (candidates[name].to_numpy()[kept.candidate] for name in ("trend_rank", "product_id"))
    # A brand further down a list has a larger place among all brands of all lists.
    order = np.lexsort((product_id, kept.item, trend_rank, kept.item < 0, kept.user))
    ranked = kept.take(order)
    return ranked.take(places(ranked.user) < rule.per_user)


def _rows(offers: _Offers, candidates: pa.Table, batch: pa.RecordBatch) -> pa.Table:
    """Return the offers with their evidence, columns as schemas.RECOMMENDATIONS."""
    lists = batch["brands"]
    evidence = candidates.take(pa.array(offers.candidate))
    item, is_fallback = pa.array(offers.item, mask=offers.item < 0), offers.item < 0
    first = lists.offsets.to_numpy()[offers.user] - lists.offsets[0].as_py()
    columns = {
        **{name: evidence[name] for name in _EVIDENCE},
        "user_id": batch["user_id"].take(pa.array(offers.user)),
        "rank": pa.array(places(offers.user) + 1, pa.int32()),
        "brand_position": pa.array(offers.item - first + 1, pa.int32(), mask=is_fallback),
        "brand_last_seen_at": pc.list_flatten(lists).field("last_seen_at").take(item),
        "is_fallback": pa.array(is_fallback),
    }
    return pa.table({name: columns[name] for name in RECOMMENDATION_COLUMNS})
