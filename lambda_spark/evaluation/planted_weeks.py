"""Weeks of a shop with planted trends and traps, drawn visit by visit, and the counts that the trend rule takes.

A visit is one user at one product on one day. How many visits a product has on a day is drawn from a negative binomial
distribution; who comes is drawn for each visit, and so is the number of views. So distinct users follow from draws, as
in a shop. Only the last seven days of a month are drawn, which is what the rule looks at.
"""

from datetime import datetime, timezone
from typing import NamedTuple
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.random import Generator, default_rng

from lambda_spark.evaluation.planted_shops import DAYS, KINDS, Condition, Shop, catalogue_of, event_rates, plant
from lambda_spark.schemas import COUNT_COLUMNS
from lambda_spark.synthetic_shop import Catalogue, Floats, Ints, Texts
from lambda_spark.time_ranges import DAY, TimeRange
from lambda_spark.window_counts import INSTANT

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
