"""What is planted in a week of a shop: trends that a rule should find, and traps, as the events that are expected.

Weeks of a shop with planted trends and traps, drawn visit by visit, and the counts that the trend rule takes.

A visit is one user at one product on one day. How many visits a product has on a day is drawn from a negative binomial
distribution; who comes is drawn for each visit, and so is the number of views. So distinct users follow from draws, as
in a shop. Only the last seven days of a month are drawn, which is what the rule looks at.
"""

from datetime import datetime, timezone
from functools import cache
from typing import NamedTuple
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.random import Generator, default_rng

from lambda_spark.local.synthetic_shop import Catalogue, Floats, Ints, ShopSize, Texts, make_catalogue
from lambda_spark.schemas import COUNT_COLUMNS
from lambda_spark.time_ranges import DAY, TimeRange
from lambda_spark.trends.windows import INSTANT

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


_START = datetime(2019, 11, 24, tzinfo=timezone.utc)
WEEK = TimeRange(_START, _START + DAYS * DAY)

# Measured on a real morning of the REES46 shop: events per user and product, which are close to geometric.
_EVENTS_PER_VISIT = 1.44

# Each spammer makes so many events on one product on the last days.
_SPAM_EVENTS, _SPAM_DAYS = (200, 800), 3

# The larger it is, the more of the visits are those of few users.
_USER_SKEW = 1.5


class Visits(NamedTuple):
    """One value per (day, product, user): a position in the catalogue, a number of a user, and views."""

    day: Ints
    product: Ints
    user: Ints
    events: Ints


class PlantedWeek(NamedTuple):
    """What was drawn, and the positions in the catalogue of what was planted: of trends and of each kind of trap."""

    catalogue: Catalogue
    visits: Visits
    planted: dict[str, Ints]  # by KINDS


def draw_week(shop: Shop, condition: Condition, seed: int) -> PlantedWeek:
    """Draw the week of a shop; the same arguments give the same week."""
    catalogue = catalogue_of(shop)
    rng = default_rng([seed, crc32(repr(condition).encode())])
    usual = shop.events * catalogue.share
    planted = plant(rng, catalogue, usual)
    rates = event_rates(rng, usual, planted, condition)
    days = [_draw_day(rng, rates[day], shop.users, condition.dispersion, day) for day in range(DAYS)]
    if condition.has_spam:
        days.append(_draw_spam(rng, planted["spam"], shop.users))
    else:
        planted["spam"] = planted["spam"][:0]
    return PlantedWeek(catalogue, Visits(*map(np.concatenate, zip(*days, strict=True))), planted)


def product_kinds(week: PlantedWeek) -> dict[int, str]:
    """Return by product_id what was planted there, one of KINDS; nothing was where a product is missing."""
    ids = week.catalogue.product_id.astype(np.int64)
    return {int(product_id): kind for kind in KINDS for product_id in ids[week.planted[kind]]}


def count_visits(week: PlantedWeek) -> pa.Table:
    """Count a week. One row per (bucket_at, product_id) with an event, columns as in schemas.BUCKET_ACTIVITY."""
    visits, products = week.visits, len(week.catalogue.product_id)
    cells = DAYS * products
    cell = visits.day * products + visits.product
    users = np.bincount(cell, minlength=cells)
    there = np.flatnonzero(users)
    events = np.bincount(cell, visits.events, cells).astype(np.int64)[there]
    midnights = np.datetime64(WEEK.start.replace(tzinfo=None), "us") + (there // products) * np.timedelta64(1, "D")
    place = pa.array(there % products)
    views = {"view_count": events}
    return pa.table(
        {
            "bucket_at": pa.array(midnights).cast(INSTANT),
            "product_id": week.catalogue.product_id.astype(np.int64)[there % products],
            **{name: _texts(getattr(week.catalogue, name)).take(place) for name in ("brand", "category_code")},
            **{name: views.get(name, np.zeros_like(events)) for name in COUNT_COLUMNS.values()},
            "event_count": events,
            "user_count": users[there],
        }
    )


def _draw_day(rng: Generator, rates: Floats, users: int, dispersion: float, day: int) -> Visits:
    """Draw the visits of a day: those of a product have the variance mean + dispersion mean²."""
    expected = rates / _EVENTS_PER_VISIT
    if dispersion:
        expected = expected * rng.gamma(1 / dispersion, dispersion, len(rates))
    visits = rng.poisson(expected)
    product = np.repeat(np.arange(len(rates)), visits)
    user = (users * rng.random(len(product)) ** _USER_SKEW).astype(np.int64)
    # Who comes twice is one user with more views.
    pair, count = np.unique(product * users + user, return_counts=True)
    events = np.add.reduceat(rng.geometric(1 / _EVENTS_PER_VISIT, len(product)), np.cumsum(count) - count)
    return Visits(np.full(len(pair), day), pair // users, pair % users, events)


def _draw_spam(rng: Generator, products: Ints, users: int) -> Visits:
    """Draw single users, not seen otherwise, who make hundreds of events on one product each."""
    low, high = _SPAM_EVENTS
    by_day = rng.multinomial(rng.integers(low, high, len(products)), np.full(_SPAM_DAYS, 1 / _SPAM_DAYS))
    day, place = (
        np.repeat(np.arange(DAYS - _SPAM_DAYS, DAYS), len(products)),
        np.tile(np.arange(len(products)), _SPAM_DAYS),
    )
    return Visits(day, products[place], users + place, by_day.T.ravel())


def _texts(values: Texts) -> pa.Array:
    texts = pa.array(values, pa.string())
    return pc.if_else(pc.equal(texts, ""), None, texts)
