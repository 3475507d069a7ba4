"""Drawn weeks of a shop with planted trends, which a rule should find, and traps: their visits and their counts.

A visit is one user at one product on one day. How many visits a product has on a day is drawn from a negative binomial
distribution; the user and the number of views are drawn for each visit. So distinct users follow from draws, as in a
shop. Only the last seven days of a month are drawn, the default window of the trend rule.
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

# The kinds of planted products: a trend, or one of the traps.
KINDS = ("trend", "spam", "decoy", "rhythm")

# The number of products with hundreds of events of a single user, in weeks with spam.
SPAMMERS = 40

# From Sunday on, as in local/synthetic_shop.py, without the sale.
_WEEKDAYS = np.array([1.1, 0.95, 0.92, 0.94, 0.98, 1.0, 1.12])

# In a sale the whole shop has this many times the visits on its last days.
_SALE, _SALE_DAYS = 1.8, 2

# This share of the products has one weekday with so many times the visits of its other days.
_RHYTHM_SHARE, _RHYTHM = 0.02, 2.0

# The range of events per day, before the trend, of products with a planted trend.
_PLANTED_EVENTS = (10, 200)

# A sudden trend begins on one of the last two to four days; a slow one grows by the same amount on each of five.
_SUDDEN_DAYS, _SLOW_DAYS = (2, 4), 5

# A decoy goes from one event a day to thirty on the last day.
_DECOY_EVENTS = (1, 30)

_START = datetime(2019, 11, 24, tzinfo=timezone.utc)
WEEK = TimeRange(_START, _START + DAYS * DAY)

# Events per user and product, close to a geometric distribution; measured on a real morning of the REES46 shop.
_EVENTS_PER_VISIT = 1.44

# Each spammer makes so many events on one product on the last days.
_SPAM_EVENTS, _SPAM_DAYS = (200, 800), 3

# The larger, the more visits come from few users.
_USER_SKEW = 1.5


class Shop(NamedTuple):
    """How large a shop is; events and users are those of an ordinary day."""

    name: str
    products: int
    events: int
    users: int


SMALL = Shop("small", 3_000, 10_000, 3_000)
LARGE = Shop("large", 150_000, 2_000_000, 400_000)


class Condition(NamedTuple):
    """The condition of a week: growth and shape of its trends, over-dispersion, spam by single users, a sale."""

    growth: float
    shape: str  # sudden | slow
    dispersion: float
    has_spam: bool
    has_sale: bool


class Visits(NamedTuple):
    """Arrays with one value per (day, product, user): `product` is an index of the catalogue, `events` are views."""

    day: Ints
    product: Ints
    user: Ints
    events: Ints


class PlantedWeek(NamedTuple):
    """A drawn week: its visits, and the planted products of each kind as indices of the catalogue."""

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
    """Return the kind of each planted product by product_id."""
    ids = week.catalogue.product_id.astype(np.int64)
    return {int(product_id): kind for kind in KINDS for product_id in ids[week.planted[kind]]}


def count_visits(week: PlantedWeek) -> pa.Table:
    """Count the visits of a week. One row per (bucket_at, product_id) with an event, as in schemas.BUCKET_ACTIVITY."""
    visits, products = week.visits, len(week.catalogue.product_id)
    cells = DAYS * products
    cell = visits.day * products + visits.product
    users = np.bincount(cell, minlength=cells)
    filled = np.flatnonzero(users)
    events = np.bincount(cell, visits.events, cells).astype(np.int64)[filled]
    midnights = np.datetime64(WEEK.start.replace(tzinfo=None), "us") + (filled // products) * np.timedelta64(1, "D")
    index = pa.array(filled % products)
    views = {"view_count": events}
    return pa.table(
        {
            "bucket_at": pa.array(midnights).cast(INSTANT),
            "product_id": week.catalogue.product_id.astype(np.int64)[filled % products],
            **{name: _texts(getattr(week.catalogue, name)).take(index) for name in ("brand", "category_code")},
            **{name: views.get(name, np.zeros_like(events)) for name in COUNT_COLUMNS.values()},
            "event_count": events,
            "user_count": users[filled],
        }
    )


@cache
def catalogue_of(shop: Shop) -> Catalogue:
    """Return the products of a shop: the same for all its weeks."""
    return make_catalogue(0, ShopSize(shop.products))


def plant(rng: Generator, catalogue: Catalogue, usual: Floats) -> dict[str, Ints]:
    """Choose the products of each kind, as indices of the catalogue; no product has two kinds."""
    low, high = _PLANTED_EVENTS
    can_trend = np.flatnonzero((usual >= low) & (usual <= high))
    trend = rng.choice(can_trend, len(catalogue.planted), replace=False)
    others = rng.permutation(np.setdiff1d(np.arange(len(usual)), np.concatenate([trend, catalogue.decoys])))
    with_rhythm = round(_RHYTHM_SHARE * len(usual))
    spam, rhythm = others[:SPAMMERS], others[SPAMMERS : SPAMMERS + with_rhythm]
    return {"trend": trend, "spam": spam, "decoy": catalogue.decoys, "rhythm": rhythm}


def event_rates(rng: Generator, usual: Floats, planted: dict[str, Ints], condition: Condition) -> Floats:
    """Return the expected number of events: a row per day, a column per product."""
    rates = np.tile(usual, (DAYS, 1))
    rates[rng.integers(0, DAYS, len(planted["rhythm"])), planted["rhythm"]] *= _RHYTHM
    rates[:-1, planted["decoy"]], rates[-1, planted["decoy"]] = _DECOY_EVENTS
    rates[:, planted["trend"]] *= _growth_by_day(rng, condition, len(planted["trend"]))
    rates *= _WEEKDAYS[:, None]
    if condition.has_sale:
        rates[-_SALE_DAYS:] *= _SALE
    return rates


def _growth_by_day(rng: Generator, condition: Condition, count: int) -> Floats:
    """Return the growth factor of the planted products: a row per day, a column per product."""
    day = np.arange(DAYS)[:, None]
    if condition.shape == "slow":
        part = np.clip((day - (DAYS - 1 - _SLOW_DAYS)) / _SLOW_DAYS, 0, 1)
    else:
        low, high = _SUDDEN_DAYS
        part = np.where(day >= DAYS - rng.integers(low, high + 1, count), 1.0, 0.0)
    grown: Floats = np.broadcast_to(1 + part * (condition.growth - 1), (DAYS, count))
    return grown


def _draw_day(rng: Generator, rates: Floats, users: int, dispersion: float, day: int) -> Visits:
    """Draw the visits of a day; the number of a product's visits has the variance mean + dispersion mean²."""
    expected = rates / _EVENTS_PER_VISIT
    if dispersion:
        expected = expected * rng.gamma(1 / dispersion, dispersion, len(rates))
    visits = rng.poisson(expected)
    product = np.repeat(np.arange(len(rates)), visits)
    user = (users * rng.random(len(product)) ** _USER_SKEW).astype(np.int64)
    # A user who comes twice is one visit with more views.
    pair, count = np.unique(product * users + user, return_counts=True)
    events = np.add.reduceat(rng.geometric(1 / _EVENTS_PER_VISIT, len(product)), np.cumsum(count) - count)
    return Visits(np.full(len(pair), day), pair // users, pair % users, events)


def _draw_spam(rng: Generator, products: Ints, users: int) -> Visits:
    """Draw the visits of users that make hundreds of events on one product and nothing else."""
    low, high = _SPAM_EVENTS
    by_day = rng.multinomial(rng.integers(low, high, len(products)), np.full(_SPAM_DAYS, 1 / _SPAM_DAYS))
    day, spammer = (
        np.repeat(np.arange(DAYS - _SPAM_DAYS, DAYS), len(products)),
        np.tile(np.arange(len(products)), _SPAM_DAYS),
    )
    return Visits(day, products[spammer], users + spammer, by_day.T.ravel())


def _texts(values: Texts) -> pa.Array:
    texts = pa.array(values, pa.string())
    return pc.if_else(pc.equal(texts, ""), None, texts)
