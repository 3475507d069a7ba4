"""Who looks at what and when in a generated month: visits as numbers, for the month at once or day by day."""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from lambda_spark.synthetic_shop import DAYS, LOYALTY, Catalogue, Floats, Ints, explored_shares

DAY_SECONDS = 86_400
EVENT_TYPES = ("view", "cart", "remove_from_cart", "purchase")

# By day, from Friday the 1st on. The shop's level rises once more for the last two days, Black Friday and the next.
_LEVELS = np.resize([1.0, 1.12, 1.1, 0.95, 0.92, 0.94, 0.98], DAYS)
_LEVELS[-2:] *= 1.35
# By hour, from midnight on.
_HOURS = np.array([8, 5, 4, 4, 6, 10, 18, 28, 38, 45, 50, 52, 53, 54, 55, 58, 62, 66, 70, 74, 72, 58, 36, 18])

_CARTS, _REMOVES, _PURCHASES = 0.03, 0.003, 0.017
_FROM_CART = 0.6
_VIEWS_PER_SESSION = 4.2
# So many sets of favourite brands are enough for any number of users.
_FAVOURITES, _MOST_TASTES = 6, 100_000
# A collector has no favourite brands and comes often: 60 times in the default month.
_COLLECTORS_PER_USER, _COLLECTOR_SHARE = 0.0015, 18


class Visits(NamedTuple):
    """The events of a stretch of days in the order of time, one value each."""

    time: Ints  # seconds since the month began
    kind: Ints  # a position in EVENT_TYPES
    product: Ints  # a position in the catalogue
    user: Ints  # a number below `users`
    session: Ints  # a number, from 0 on


def events_by_day(events: int) -> Ints:
    """Divide a month's events among its days by the level of each."""
    ends = np.rint(np.cumsum(_LEVELS) / _LEVELS.sum() * events).astype(np.int64)
    by_day: Ints = np.diff(ends, prepend=0)
    return by_day


def make_visits(
    rng: Generator, people: Generator, catalogue: Catalogue, days: range, events: int, users: int, drift: float = 0.0
) -> Visits:
    """Return that many events on the days (0 is the 1st); each week a user gives up that share of the favourite brands.

    `people` draws what belongs to a user. Where a month is made in several stretches, it begins alike for each of
    them; for a month at once it may be `rng`.
    """
    views = events - sum(_follower_counts(events))
    session, user, time = _sessions(rng, people, views, users, days)
    favourites = _favourite_brands(people, catalogue, min(users, _MOST_TASTES), drift)
    product = _products(rng, favourites, catalogue, user, users, time // DAY_SECONDS, days)
    view, kind, time = _with_followers(rng, time, events, days.stop * DAY_SECONDS)
    return Visits(time, kind, product[view], user[view], session[view])


def _sessions(rng: Generator, people: Generator, views: int, users: int, days: range) -> tuple[Ints, Ints, Ints]:
    """Return the session, the user and the second of the month of each view, session by session."""
    session = np.repeat(np.arange(views), rng.geometric(1 / _VIEWS_PER_SESSION, views))[:views]
    sessions = int(session[-1]) + 1
    activity = people.lognormal(0, 1, users)
    activity[: _collectors(users)] = activity.sum() * (_COLLECTOR_SHARE / users)
    user = rng.choice(users, sessions, p=activity / activity.sum())
    elapsed = np.cumsum(rng.exponential(70, views).astype(np.int64))
    first_view = np.searchsorted(session, np.arange(sessions))
    start, end = _start_times(rng, sessions, days), days.stop * DAY_SECONDS
    if len(days) < DAYS:
        # Nobody's session goes on in the next stretch; cut off, they would all have their last views at midnight.
        length = np.diff(elapsed[first_view], append=elapsed[-1])
        start = np.maximum(np.minimum(start, end - 1 - length), days.start * DAY_SECONDS)
    time = (start - elapsed[first_view])[session] + elapsed
    return session, user[session], np.minimum(time, end - 1)


def _start_times(rng: Generator, sessions: int, days: range) -> Ints:
    level = _LEVELS[days.start : days.stop]
    day = days.start + rng.choice(len(days), sessions, p=level / level.sum())
    hour = rng.choice(24, sessions, p=_HOURS / _HOURS.sum())
    start: Ints = day * DAY_SECONDS + hour * 3_600 + rng.integers(0, 3_600, sessions)
    # A day is complete once an event of its last hour has been seen: even the smallest month ends so.
    start[-1] = days.stop * DAY_SECONDS - 1_800
    return start


def _products(
    rng: Generator, favourites: Ints, catalogue: Catalogue, user: Ints, users: int, day: Ints, days: range
) -> Ints:
    """Return the product of each view: one of a favourite brand, or, where the user explores, any."""
    product = _favoured_products(rng, favourites, catalogue, user, day)
    explores = (rng.random(len(user)) >= LOYALTY) | (user < _collectors(users))
    for number in days:
        views = np.flatnonzero(explores & (day == number))
        product[views] = rng.choice(len(catalogue.share), len(views), p=explored_shares(catalogue, number))
    return product


def _favourite_brands(people: Generator, catalogue: Catalogue, tastes: int, drift: float) -> Ints:
    """Return the favourite brands by week and taste, drawn by popularity; each one is given up with that chance a week.

    Where none ever is, every week has the same, as one week.
    """
    share, weeks = _brand_shares(catalogue), -(-DAYS // 7) if drift else 1
    brands = [people.choice(len(share), (tastes, _FAVOURITES), p=share)]
    for _ in range(1, weeks):
        drawn = people.choice(len(share), (tastes, _FAVOURITES), p=share)
        brands.append(np.where(people.random(drawn.shape) < drift, drawn, brands[-1]))
    return np.stack(brands)


def _brand_shares(catalogue: Catalogue) -> Floats:
    """Return the share of the views that each brand has; "no brand", number 0, is one too."""
    shares = np.bincount(catalogue.brand_number, catalogue.share, catalogue.brands + 1)
    normalised: Floats = shares / shares.sum()
    return normalised


def _favoured_products(rng: Generator, favourites: Ints, catalogue: Catalogue, user: Ints, day: Ints) -> Ints:
    """Return for each view a product of one of the user's favourite brands, by popularity."""
    by_brand = np.argsort(catalogue.brand_number, kind="stable")
    reach = np.concatenate([[0.0], np.cumsum(catalogue.share[by_brand])])
    start = reach[np.searchsorted(catalogue.brand_number[by_brand], np.arange(catalogue.brands + 2))]
    weeks, tastes, _ = favourites.shape
    brand = favourites[np.minimum(day // 7, weeks - 1), user % tastes, rng.integers(0, _FAVOURITES, len(user))]
    point = start[brand] + rng.random(len(user)) * np.diff(start)[brand]
    product: Ints = by_brand[np.searchsorted(reach, point, side="right") - 1]
    return product


def _with_followers(rng: Generator, time: Ints, events: int, end: int) -> tuple[Ints, Ints, Ints]:
    """Return the view, the kind and the time of each event: the views and what follows from some of them."""
    carts, removes, purchases = _follower_counts(events)
    shuffled = rng.permutation(len(time))
    first_bought = carts - round(purchases * _FROM_CART)
    bought = shuffled[first_bought : first_bought + purchases]
    view = np.concatenate([np.arange(len(time)), shuffled[:carts], shuffled[:removes], bought])
    kind = np.repeat(np.arange(len(EVENT_TYPES)), [len(time), carts, removes, purchases])
    delay = rng.integers(np.array([0, 5, 100, 100])[kind], np.array([1, 90, 600, 600])[kind])
    when = np.minimum(time[view] + delay, end - 1)
    order = np.lexsort((view, kind, when))
    return view[order], kind[order], when[order]


def _follower_counts(events: int) -> tuple[int, int, int]:
    carts, removes, purchases = (round(events * share) for share in (_CARTS, _REMOVES, _PURCHASES))
    return carts, removes, purchases


def _collectors(users: int) -> int:
    return round(users * _COLLECTORS_PER_USER)
