"""The recommendation rule for a single user, in plain Python, as the API answers a request.

The rule over Arrow tables takes a millisecond however few the users are; this form takes a twentieth of that. Only the
selection is written twice: candidates and keys come from lambda_spark.recommendations.rule, and a test compares both
forms on random users (docs/adr/0021-serving.md).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lambda_spark.recommendations.rule import RecommendationRule, candidates_of, order_key


class ScoredCandidate(NamedTuple):
    """A candidate for a user: its key, the position of its brand in the user's list, and its index (`place`).

    The position is None for a fallback.
    """

    key: float
    position: int | None
    product_id: int
    place: int


@dataclass(frozen=True)
class CandidateIndex:
    """The candidates of a window by brand, the best of each brand first.

    `keys` has a list per candidate: its key if its brand is the first of the user's list, the second, and so on.
    `by_brand` has the indices of a brand's candidates, `fallbacks` all indices, the best first.
    """

    candidates: pa.Table
    rule: RecommendationRule
    product_ids: list[int]
    brands: list[str | None]
    by_brand: dict[str, range]
    keys: list[list[float]]
    fallbacks: list[int]


def index_candidates(trends: pa.Table, rule: RecommendationRule, positions: int) -> CandidateIndex:
    """Index the candidates of a window's trends, for users with at most so many recent brands."""
    candidates = candidates_of(trends, rule)
    count, key = len(candidates), order_key(rule.order, candidates)
    every = np.repeat(np.arange(count), positions)
    keys = key(every, np.tile(np.arange(1, positions + 1), count)).reshape(count, positions)
    product_ids, brands = (candidates[name].to_pylist() for name in ("product_id", "brand"))
    best_first = sorted(range(count), key=lambda place: (keys[place, 0], product_ids[place]))
    return CandidateIndex(candidates, rule, product_ids, brands, dict(_runs(brands)), keys.tolist(), best_first)


def recommend_to_one(
    index: CandidateIndex, brands: Sequence[str], excluded: Collection[int], count: int, fallback: bool
) -> list[ScoredCandidate]:
    """Return at most `count` candidates for a user with these recent brands, newest first; the best come first.

    `excluded` are product ids. With `fallback` the list is filled up with trends of other brands.
    """
    # Plain tuples until they are chosen: a named one costs five times as much, and most are not chosen.
    found: list[tuple[float, int, int, int]] = []
    for position, brand in enumerate(brands):
        taken = 0
        for place in index.by_brand.get(brand, ()):
            if taken == index.rule.per_brand:
                break
            if (product_id := index.product_ids[place]) not in excluded:
                found.append((index.keys[place][position], position + 1, product_id, place))
                taken += 1
    chosen = [ScoredCandidate(*each) for each in sorted(found)[:count]]
    if fallback and len(chosen) < count:
        chosen += _fallbacks(index, set(brands), excluded, count - len(chosen))
    return chosen


def _fallbacks(
    index: CandidateIndex, recent: Collection[str], excluded: Collection[int], count: int
) -> list[ScoredCandidate]:
    found: list[ScoredCandidate] = []
    taken: dict[str | None, int] = {}
    for place in index.fallbacks:
        if len(found) == count:
            break
        brand, product_id = index.brands[place], index.product_ids[place]
        if brand not in recent and product_id not in excluded and taken.get(brand, 0) < index.rule.per_brand:
            found.append(ScoredCandidate(index.keys[place][0], None, product_id, place))
            taken[brand] = taken.get(brand, 0) + 1
    return found


def _runs(brands: Sequence[Any]) -> Iterator[tuple[str, range]]:
    """Yield each brand with the indices of its candidates; candidates without a brand are skipped."""
    start = 0
    for place in range(1, len(brands) + 1):
        if place == len(brands) or brands[place] != brands[start]:
            if brands[start] is not None:
                yield brands[start], range(start, place)
            start = place
