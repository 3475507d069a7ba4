"""The shop of a generated month: its products with brands, prices and planted trends, and the visits of its users.

Products and visits are NumPy arrays; visits cover the whole month or any range of its days.
"""

from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Texts = NDArray[np.str_]
DAYS = 30
DAY_SECONDS = 86_400
EVENT_TYPES = ("view", "cart", "remove_from_cart", "purchase")

# The share of the views that are of favourite brands; the other views explore, and only they follow trends.
LOYALTY = 0.5

# Shares of the views, in units of the mean share of a product. A planted product has 15 to 25 events a day in the
# default month: enough for its growth to be visible.
_PLANTED_SHARE, _PLANTED_GROWTH = (4.5, 7.5), (3.5, 6.0)
_PRODUCTS_PER_PLANTED, _MOST_PLANTED = 150, 300
_RAMP = np.array([0.8, 1.0, 1.2])

# A decoy has hardly any views until the last day, so it tops the ranking by raw percentage.
_PRODUCTS_PER_DECOY, _MOST_DECOYS, _DECOY_SHARE = 375, 100, 9.0
_PREFIXES = ["", *(f"{first}{second}" for first, second in product("bcdglmprs", "aeiou"))]
_STEMS = ["nor", "tel", "ari", "kos", "mer", "vel", "san", "lum", "dax", "ost", "bel", "ran", "tor", "fen", "gal"]
_ENDINGS = ["vik", "amo", "ona", "tech", "line", "ex", "ia", "ora", "max", "una", "-hart", ".is", "eko", "us"]

_DEPARTMENTS = {
    "electronics": "smartphone audio.headphone clocks video.tv telephone tablet",
    "appliances": "kitchen.kettle kitchen.refrigerators kitchen.washer environment.vacuum iron personal.scales",
    "computers": "notebook desktop peripherals.mouse peripherals.printer components.memory",
    "apparel": "shoes shoes.keds shirt jeans costume underwear",
    "furniture": "living_room.sofa bedroom.bed kitchen.table living_room.cabinet",
    "construction": "tools.drill tools.saw tools.light tools.pump",
    "kids": "toys carriage swing dolls",
    "auto": "accessories.player accessories.alarm accessories.videoregister",
}

# A large shop subdivides its categories.
_KINDS = ["", ".basic", ".home", ".office", ".travel", ".outdoor", ".compact", ".classic", ".premium", ".refurbished"]

# By day, from Friday the 1st on. The level rises for the last two days, Black Friday and the day after.
_LEVELS = np.resize([1.0, 1.12, 1.1, 0.95, 0.92, 0.94, 0.98], DAYS)
_LEVELS[-2:] *= 1.35

# By hour, from midnight on.
_HOURS = np.array([8, 5, 4, 4, 6, 10, 18, 28, 38, 45, 50, 52, 53, 54, 55, 58, 62, 66, 70, 74, 72, 58, 36, 18])
_CARTS, _REMOVES, _PURCHASES = 0.03, 0.003, 0.017
_FROM_CART = 0.6
_VIEWS_PER_SESSION = 4.2

# The most sets of favourite brands, for any number of users.
_FAVOURITES, _MOST_TASTES = 6, 100_000

# A collector has no favourite brands and visits often: 60 times in the default month.
_COLLECTORS_PER_USER, _COLLECTOR_SHARE = 0.0015, 18


class ShopSize(NamedTuple):
    """The size of a shop; `kinds` is the number of subcategories of each category."""

    products: int
    brands: int = 200
    kinds: int = 1


class Catalogue(NamedTuple):
    """The products, the most popular first. Each array has one value per product, or a row of them per week."""

    product_id: Texts
    category_id: Texts
    category_code: Texts
    brand: Texts
    brand_number: Ints  # 0: no brand
    week_price: Texts  # by week
    share: Floats  # of all views
    planted: Ints  # the positions of the products with a trend
    planted_growth: Floats  # by how much each of them grows
    decoys: Ints  # the positions of the decoys
    brands: int


@cache
def make_catalogue(seed: int, size: ShopSize) -> Catalogue:
    """Return the products of a shop of that size; the same arguments give the same products."""
    rng, products = default_rng([seed, 0]), size.products
    position = np.arange(products)
    share = _zipf(products, flatness=6)
    brand_number = rng.choice(np.arange(1, size.brands + 1), products, p=_zipf(size.brands, flatness=4))
    # Products without a brand are spread evenly over popular and rare ones, so their share of the events is stable.
    brand_number[position % 7 == 3] = 0
    category_id, category_code = _categories(rng, brand_number, position, size.kinds)
    week_price = rng.lognormal(4, 1, products) * rng.choice([1, 1, 1, 0.95, 1.04], (DAYS // 7 + 1, products))
    low, high = (times / products for times in _PLANTED_SHARE)
    can_trend = np.flatnonzero((share >= low) & (share <= high) & (brand_number > 0))
    planted = rng.permutation(can_trend)[: min(products // _PRODUCTS_PER_PLANTED, _MOST_PLANTED)]
    decoys = min(products // _PRODUCTS_PER_DECOY, _MOST_DECOYS)
    return Catalogue(
        product_id=(1_000_000 + rng.choice(60_000_000, products, replace=False)).astype(str),
        category_id=category_id,
        category_code=category_code,
        brand=_brand_names(size.brands)[brand_number],
        brand_number=brand_number,
        week_price=np.char.mod("%.2f", week_price),
        share=share,
        planted=planted,
        planted_growth=rng.uniform(*_PLANTED_GROWTH, len(planted)),
        decoys=rng.choice(np.arange(products // 2, products), decoys, replace=False),
        brands=size.brands,
    )


def explored_shares(catalogue: Catalogue, day: int) -> Floats:
    """Return each product's share of the exploring views of a day (0 is the 1st)."""
    shares = catalogue.share.copy()
    ramp_day = day - (DAYS - len(_RAMP))
    if ramp_day >= 0:
        wanted = 1 + _RAMP[ramp_day] * (catalogue.planted_growth - 1)
        shares[catalogue.planted] *= (wanted - LOYALTY) / (1 - LOYALTY)
    if day == DAYS - 1:
        shares[catalogue.decoys] = _DECOY_SHARE / len(shares) / (1 - LOYALTY)
    normalised: Floats = shares / shares.sum()
    return normalised


def _zipf(count: int, flatness: int) -> Floats:
    weight = 1 / (np.arange(count) + flatness)
    share: Floats = weight / weight.sum()
    return share


def _brand_names(brands: int) -> Texts:
    names = (prefix + stem + ending for prefix, ending, stem in product(_PREFIXES, _ENDINGS, _STEMS))
    return np.array(["", *names])[: brands + 1]


def _categories(rng: Generator, brand_number: Ints, position: Ints, kinds: int) -> tuple[Texts, Texts]:
    """Return each product's category id and code; a brand is in one department, whose last category has no code."""
    codes = [[*(f"{name}.{code}" for code in codes.split()), ""] for name, codes in _DEPARTMENTS.items()]
    last = np.array([len(department) - 1 for department in codes])
    department = brand_number % len(codes)
    has_code = position * 7 % 20 >= 7
    category = np.where(has_code, rng.integers(0, last[department]), last[department])
    kind = np.where(has_code, position % kinds, 0)
    category_id = 2_053_013_550_000_000_000 + (kind * 100 + department * 10 + category) * 101_010_101
    names = [codes[d][c] + _KINDS[k] for d, c, k in zip(department, category, kind, strict=True)]
    return category_id.astype(str), np.array(names)


class Visits(NamedTuple):
    """The events of a range of days in the order of time, one value per event in each array."""

    time: Ints  # seconds since the month began
    kind: Ints  # a position in EVENT_TYPES
    product: Ints  # a position in the catalogue
    user: Ints  # a number below `users`
    session: Ints  # a number, from 0 on


def events_by_day(events: int) -> Ints:
    """Return the number of events of each day of a month."""
    ends = np.rint(np.cumsum(_LEVELS) / _LEVELS.sum() * events).astype(np.int64)
    by_day: Ints = np.diff(ends, prepend=0)
    return by_day


def make_visits(
    rng: Generator, people: Generator, catalogue: Catalogue, days: range, events: int, users: int, drift: float = 0.0
) -> Visits:
    """Return that many events on the days (0 is the 1st); each week users exchange the share `drift` of favourites.

    `people` draws the properties of the users: if a month is generated in several ranges, it must have the same state
    for each of them; for a month at once it may be `rng`.
    """
    views = events - sum(_follow_up_counts(events))
    session, user, time = _sessions(rng, people, views, users, days)
    favourites = _favourite_brands(people, catalogue, min(users, _MOST_TASTES), drift)
    product = _products(rng, favourites, catalogue, user, users, time // DAY_SECONDS, days)
    view, kind, time = _add_follow_ups(rng, time, events, days.stop * DAY_SECONDS)
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
        # A session must end within the range; cut off there, all late sessions would have their last views at midnight.
        length = np.diff(elapsed[first_view], append=elapsed[-1])
        start = np.maximum(np.minimum(start, end - 1 - length), days.start * DAY_SECONDS)
    time = (start - elapsed[first_view])[session] + elapsed
    return session, user[session], np.minimum(time, end - 1)


def _start_times(rng: Generator, sessions: int, days: range) -> Ints:
    level = _LEVELS[days.start : days.stop]
    day = days.start + rng.choice(len(days), sessions, p=level / level.sum())
    hour = rng.choice(24, sessions, p=_HOURS / _HOURS.sum())
    start: Ints = day * DAY_SECONDS + hour * 3_600 + rng.integers(0, 3_600, sessions)
    # A day is complete once it has an event in its last hour: even the smallest month must end with a complete day.
    start[-1] = days.stop * DAY_SECONDS - 1_800
    return start


def _products(
    rng: Generator, favourites: Ints, catalogue: Catalogue, user: Ints, users: int, day: Ints, days: range
) -> Ints:
    """Return the product of each view: of a favourite brand, or any product for an exploring view."""
    product = _favoured_products(rng, favourites, catalogue, user, day)
    explores = (rng.random(len(user)) >= LOYALTY) | (user < _collectors(users))
    for number in days:
        views = np.flatnonzero(explores & (day == number))
        product[views] = rng.choice(len(catalogue.share), len(views), p=explored_shares(catalogue, number))
    return product


def _favourite_brands(people: Generator, catalogue: Catalogue, tastes: int, drift: float) -> Ints:
    """Return the favourite brands as an array of (week, taste, brand), drawn by popularity.

    Each one is exchanged with the probability `drift` a week; without drift the array has one week.
    """
    share, weeks = _brand_shares(catalogue), -(-DAYS // 7) if drift else 1
    brands = [people.choice(len(share), (tastes, _FAVOURITES), p=share)]
    for _ in range(1, weeks):
        drawn = people.choice(len(share), (tastes, _FAVOURITES), p=share)
        brands.append(np.where(people.random(drawn.shape) < drift, drawn, brands[-1]))
    return np.stack(brands)


def _brand_shares(catalogue: Catalogue) -> Floats:
    """Return each brand's share of the views; number 0 is "no brand"."""
    shares = np.bincount(catalogue.brand_number, catalogue.share, catalogue.brands + 1)
    normalised: Floats = shares / shares.sum()
    return normalised


def _favoured_products(rng: Generator, favourites: Ints, catalogue: Catalogue, user: Ints, day: Ints) -> Ints:
    """Return for each view a product of one of the user's favourite brands, by popularity."""
    by_brand = np.argsort(catalogue.brand_number, kind="stable")
    bounds = np.concatenate([[0.0], np.cumsum(catalogue.share[by_brand])])
    start = bounds[np.searchsorted(catalogue.brand_number[by_brand], np.arange(catalogue.brands + 2))]
    weeks, tastes, _ = favourites.shape
    brand = favourites[np.minimum(day // 7, weeks - 1), user % tastes, rng.integers(0, _FAVOURITES, len(user))]
    point = start[brand] + rng.random(len(user)) * np.diff(start)[brand]
    product: Ints = by_brand[np.searchsorted(bounds, point, side="right") - 1]
    return product


def _add_follow_ups(rng: Generator, time: Ints, events: int, end: int) -> tuple[Ints, Ints, Ints]:
    """Return the view, the kind and the time of each event: the views, and carts, removals and purchases after them."""
    carts, removes, purchases = _follow_up_counts(events)
    shuffled = rng.permutation(len(time))
    first_bought = carts - round(purchases * _FROM_CART)
    bought = shuffled[first_bought : first_bought + purchases]
    view = np.concatenate([np.arange(len(time)), shuffled[:carts], shuffled[:removes], bought])
    kind = np.repeat(np.arange(len(EVENT_TYPES)), [len(time), carts, removes, purchases])
    delay = rng.integers(np.array([0, 5, 100, 100])[kind], np.array([1, 90, 600, 600])[kind])
    when = np.minimum(time[view] + delay, end - 1)
    order = np.lexsort((view, kind, when))
    return view[order], kind[order], when[order]


def _follow_up_counts(events: int) -> tuple[int, int, int]:
    carts, removes, purchases = (round(events * share) for share in (_CARTS, _REMOVES, _PURCHASES))
    return carts, removes, purchases


def _collectors(users: int) -> int:
    return round(users * _COLLECTORS_PER_USER)
