"""In which order the products offered to a user are recommended. A smaller key comes first.

    relevance    key = -(ln c - 0.3 ln C + 0.5 s - 0.25 ln p)
    origin       key = trend rank

c is the product's event count in the window, C that of all candidates of its brand, s its trend score (0 where there is
none) and p the brand's position in the user's list, 1 for the most recent. Relevance is thus popularity, of which a
large brand's products have more without telling anything of the user, times growth, times how fresh the interest is.
The weights were tuned on generated months and a grocery log: docs/evaluation.md says what was tried and what it gave.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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
