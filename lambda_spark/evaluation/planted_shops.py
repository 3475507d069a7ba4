"""What is planted in a week of a shop: trends that a rule should find, and traps, as the events that are expected."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from lambda_spark.synthetic_shop import Catalogue, Floats, Ints, ShopSize, make_catalogue

DAYS = 7
# What may be planted at a product: a trend, or one of the traps.
KINDS = ("trend", "spam", "decoy", "rhythm")
# Products that a user alone makes hundreds of events on, where there is spam.
SPAMMERS = 40

# From Sunday on, as in lambda_spark.synthetic_visits, without the sale.
_WEEKDAYS = np.array([1.1, 0.95, 0.92, 0.94, 0.98, 1.0, 1.12])
# In a sale the whole shop has this many times the visits on its last days.
_SALE, _SALE_DAYS = 1.8, 2
# This share of the products has a weekday of its own with so many times the visits of its other days.
_RHYTHM_SHARE, _RHYTHM = 0.02, 2.0
# Products with a planted trend have so many events a day before it.
_PLANTED_EVENTS = (10, 200)
# A sudden trend begins on one of the last two to four days; a slow one grows by the same amount on each of five.
_SUDDEN_DAYS, _SLOW_DAYS = (2, 4), 5
# A decoy goes from one event a day to thirty on the last day.
_DECOY_EVENTS = (1, 30)


class Shop(NamedTuple):
    """How large a shop is; events and users are those of an ordinary day."""

    name: str
    products: int
    events: int
    users: int


SMALL = Shop("small", 3_000, 10_000, 3_000)
LARGE = Shop("large", 150_000, 2_000_000, 400_000)


class Condition(NamedTuple):
    """What is planted in a week: the growth and its shape, the over-dispersion, spam by single users, a sale."""

    growth: float
    shape: str  # sudden | slow
    dispersion: float
    has_spam: bool
    has_sale: bool


@cache
def catalogue_of(shop: Shop) -> Catalogue:
    """Return the products of a shop: the same for all its weeks."""
    return make_catalogue(0, ShopSize(shop.products))


def plant(rng: Generator, catalogue: Catalogue, usual: Floats) -> dict[str, Ints]:
    """Choose the products of each kind; none is of two kinds."""
    low, high = _PLANTED_EVENTS
    can_trend = np.flatnonzero((usual >= low) & (usual <= high))
    trend = rng.choice(can_trend, len(catalogue.planted), replace=False)
    others = rng.permutation(np.setdiff1d(np.arange(len(usual)), np.concatenate([trend, catalogue.decoys])))
    with_rhythm = round(_RHYTHM_SHARE * len(usual))
    spam, rhythm = others[:SPAMMERS], others[SPAMMERS : SPAMMERS + with_rhythm]
    return {"trend": trend, "spam": spam, "decoy": catalogue.decoys, "rhythm": rhythm}


def event_rates(rng: Generator, usual: Floats, planted: dict[str, Ints], condition: Condition) -> Floats:
    """Return how many events are expected: a row per day, a column per product."""
    rates = np.tile(usual, (DAYS, 1))
    rates[rng.integers(0, DAYS, len(planted["rhythm"])), planted["rhythm"]] *= _RHYTHM
    rates[:-1, planted["decoy"]], rates[-1, planted["decoy"]] = _DECOY_EVENTS
    rates[:, planted["trend"]] *= _growth_by_day(rng, condition, len(planted["trend"]))
    rates *= _WEEKDAYS[:, None]
    if condition.has_sale:
        rates[-_SALE_DAYS:] *= _SALE
    return rates


def _growth_by_day(rng: Generator, condition: Condition, count: int) -> Floats:
    """Return by how much the planted products have grown: a row per day, a column per product."""
    day = np.arange(DAYS)[:, None]
    if condition.shape == "slow":
        part = np.clip((day - (DAYS - 1 - _SLOW_DAYS)) / _SLOW_DAYS, 0, 1)
    else:
        low, high = _SUDDEN_DAYS
        part = np.where(day >= DAYS - rng.integers(low, high + 1, count), 1.0, 0.0)
    grown: Floats = np.broadcast_to(1 + part * (condition.growth - 1), (DAYS, count))
    return grown
