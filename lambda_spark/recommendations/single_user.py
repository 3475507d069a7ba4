"""The recommendation rule for one user at a time, in plain Python: what a request is answered with.

lambda_spark.recommendations has the rule, for a batch of users over Arrow tables, which costs a millisecond however few
they are. Here is its selection once more, for one user in a twentieth of that; candidates, their order and all keys are
taken from there, and a test compares both on random users (docs/adr/0021-serving.md).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lambda_spark.recommendations.rule import RecommendationRule, candidates_of, order_key


class ScoredCandidate(NamedTuple):
    """A candidate for a user: its place on the shelf, and the position of its brand in the user's list.

    The position is None for a fallback.
    """

    key: float
    position: int | None
    product_id: int
    place: int


@dataclass(frozen=True)
class CandidateIndex:
    """The candidates of a window, those of a brand together, the best first.

    `keys` has, for each of them, its key by the position of its brand, from 1 on at index 0.
    """

    candidates: pa.Table
    rule: RecommendationRule
    product_ids: list[int]
    brands: list[str | None]
    by_brand: dict[str, range]
    keys: list[list[float]]
    fallbacks: list[int]


def index_candidates(trends: pa.Table, rule: RecommendationRule, positions: int) -> CandidateIndex:
    """Put the candidates of a window's trends on a shelf, for users with so many brands at most."""
    candidates = candidates_of(trends, rule)
    count, key = len(candidates), order_key(rule.order, candidates)
    places = np.repeat(np.arange(count), positions)
    keys = key(places, np.tile(np.arange(1, positions + 1), count)).reshape(count, positions)
    product_ids, brands = (candidates[name].to_pylist() for name in ("product_id", "brand"))
    best_first = sorted(range(count), key=lambda place: (keys[place, 0], product_ids[place]))
    return CandidateIndex(candidates, rule, product_ids, brands, dict(_runs(brands)), keys.tolist(), best_first)


def recommend_to_one(
    shelf: CandidateIndex, brands: Sequence[str], met: Collection[int], count: int, fallback: bool
) -> list[ScoredCandidate]:
    """Recommend at most so many products to a user of these recent brands, newest first, but what the user has met.

    The best first; with `fallback` filled up with trends of other brands.
    """
    # Bare tuples until they are chosen: a name costs five times as much, and most are not.
    found: list[tuple[float, int, int, int]] = []
    for index, brand in enumerate(brands):
        taken = 0
        for place in shelf.by_brand.get(brand, ()):
            if taken == shelf.rule.per_brand:
                break
            if (product_id := shelf.product_ids[place]) not in met:
                found.append((shelf.keys[place][index], index + 1, product_id, place))
                taken += 1
    offers = [ScoredCandidate(*each) for each in sorted(found)[:count]]
    if fallback and len(offers) < count:
        offers += _fallbacks(shelf, set(brands), met, count - len(offers))
    return offers


def _fallbacks(
    shelf: CandidateIndex, known: Collection[str], met: Collection[int], count: int
) -> list[ScoredCandidate]:
    found: list[ScoredCandidate] = []
    taken: dict[str | None, int] = {}
    for place in shelf.fallbacks:
        if len(found) == count:
            break
        brand, product_id = shelf.brands[place], shelf.product_ids[place]
        if brand not in known and product_id not in met and taken.get(brand, 0) < shelf.rule.per_brand:
            found.append(ScoredCandidate(shelf.keys[place][0], None, product_id, place))
            taken[brand] = taken.get(brand, 0) + 1
    return found


def _runs(brands: Sequence[Any]) -> Iterator[tuple[str, range]]:
    """Yield each brand with its places; products without a brand are of none."""
    start = 0
    for place in range(1, len(brands) + 1):
        if place == len(brands) or brands[place] != brands[start]:
            if brands[start] is not None:
                yield brands[start], range(start, place)
            start = place
