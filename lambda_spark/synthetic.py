"""A seeded month of shop events in the nine REES46 columns, with trends planted in its last week."""

import uuid
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng

from lambda_spark.schemas import EVENT_COLUMNS
from lambda_spark.synthetic_shop import BRANDS, DAYS, LOYALTY, Catalogue, Ints, Texts, make_catalogue

_FIRST_SECOND = np.datetime64("2019-11-01", "s")
_DAY = 86_400
_END = DAYS * _DAY
# By day, from Friday the 1st on. The shop's level rises once more for the last two days, Black Friday and the next.
_WEEK = np.array([1.0, 1.12, 1.1, 0.95, 0.92, 0.94, 0.98])
_BLACK_FRIDAY = 1.35
# By hour, from midnight on.
_HOURS = np.array([8, 5, 4, 4, 6, 10, 18, 28, 38, 45, 50, 52, 53, 54, 55, 58, 62, 66, 70, 74, 72, 58, 36, 18])

_TYPES = np.array(["view", "cart", "remove_from_cart", "purchase"])
_CARTS, _REMOVES, _PURCHASES = 0.03, 0.003, 0.017
_FROM_CART = 0.6
_VIEWS_PER_SESSION = 4.2
_FAVOURITES = 6
# A collector has no favourite brands and comes often: 60 times in the default month.
_COLLECTORS, _COLLECTOR_SHARE = 30, 0.0009


def generate_month(
    seed: int = 7, *, events: int = 300_000, users: int = 20_000, products: int = 3_000
) -> dict[str, Texts]:
    """Return the events of November 2019 by column, as the texts of an event file, in the order of time.

    The same arguments give the same events. The last event is of the 30th, 23:00 or later. In the default month each
    planted product has 3 to 6 times as many events a day from the 28th to the 30th as from the 24th to the 27th.
    """
    catalogue = make_catalogue(seed, products)
    rng = default_rng([seed, 1])
    views = events - sum(round(events * share) for share in (_CARTS, _REMOVES, _PURCHASES))
    session, user, time = _sessions(rng, views, users)
    product = _products(rng, catalogue, user, time // _DAY)
    view, kind, time = _with_followers(rng, time, events)
    product = product[view]
    return {
        "event_time": _as_clock(time),
        "event_type": _TYPES[kind],
        "product_id": catalogue.product_id[product],
        "category_id": catalogue.category_id[product],
        "category_code": catalogue.category_code[product],
        "brand": catalogue.brand[product],
        "price": catalogue.week_price[time // (7 * _DAY), product],
        "user_id": _user_ids(rng, users)[user[view]],
        "user_session": _session_ids(rng, int(session[-1]) + 1)[session[view]],
    }


def planted_product_ids(seed: int = 7, products: int = 3_000) -> list[int]:
    """Return the ids of the products with a planted trend in the months of that seed and number of products."""
    catalogue = make_catalogue(seed, products)
    return [int(product_id) for product_id in catalogue.product_id[catalogue.planted]]


def write_month(path: Path, seed: int = 7, *, events: int = 300_000) -> None:
    """Write the month of `generate_month` as an event file; `path` is there in full or not at all."""
    columns = generate_month(seed, events=events)
    rows = zip(*(columns[name].tolist() for name in EVENT_COLUMNS), strict=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        file.write(",".join(EVENT_COLUMNS) + "\n")
        file.writelines(",".join(row) + "\n" for row in rows)
    unfinished.replace(path)


def _sessions(rng: Generator, views: int, users: int) -> tuple[Ints, Ints, Ints]:
    """Return the session, the user and the second of the month of each view, session by session."""
    session = np.repeat(np.arange(views), rng.geometric(1 / _VIEWS_PER_SESSION, views))[:views]
    sessions = int(session[-1]) + 1
    activity = rng.lognormal(0, 1, users)
    activity[:_COLLECTORS] = activity.sum() * _COLLECTOR_SHARE
    user = rng.choice(users, sessions, p=activity / activity.sum())
    elapsed = np.cumsum(rng.exponential(70, views).astype(np.int64))
    first_view = np.searchsorted(session, np.arange(sessions))
    time = (_start_times(rng, sessions) - elapsed[first_view])[session] + elapsed
    return session, user[session], np.minimum(time, _END - 1)


def _start_times(rng: Generator, sessions: int) -> Ints:
    level = np.resize(_WEEK, DAYS)
    level[-2:] *= _BLACK_FRIDAY
    day = rng.choice(DAYS, sessions, p=level / level.sum())
    hour = rng.choice(24, sessions, p=_HOURS / _HOURS.sum())
    start: Ints = day * _DAY + hour * 3_600 + rng.integers(0, 3_600, sessions)
    # A day is complete once an event of its last hour has been seen: even the smallest month ends so.
    start[-1] = _END - 1_800
    return start


def _products(rng: Generator, catalogue: Catalogue, user: Ints, day: Ints) -> Ints:
    """Return the product of each view: one of a favourite brand, or, where the user explores, any."""
    product = _favoured_products(rng, catalogue, user)
    explores = (rng.random(len(user)) >= LOYALTY) | (user < _COLLECTORS)
    for number, shares in enumerate(catalogue.share_explored):
        views = np.flatnonzero(explores & (day == number))
        product[views] = rng.choice(len(shares), len(views), p=shares)
    return product


def _favoured_products(rng: Generator, catalogue: Catalogue, user: Ints) -> Ints:
    """Return for each view a product of one of the user's favourite brands, by popularity; "no brand" is one too."""
    by_brand = np.argsort(catalogue.brand_number, kind="stable")
    reach = np.concatenate([[0.0], np.cumsum(catalogue.share[by_brand])])
    start = reach[np.searchsorted(catalogue.brand_number[by_brand], np.arange(BRANDS + 2))]
    brand_share = np.diff(start)
    favourites = rng.choice(BRANDS + 1, (user.max() + 1, _FAVOURITES), p=brand_share / brand_share.sum())
    brand = favourites[user, rng.integers(0, _FAVOURITES, len(user))]
    point = start[brand] + rng.random(len(user)) * brand_share[brand]
    product: Ints = by_brand[np.searchsorted(reach, point, side="right") - 1]
    return product


def _with_followers(rng: Generator, time: Ints, events: int) -> tuple[Ints, Ints, Ints]:
    """Return the view, the kind and the time of each event: the views and what follows from some of them."""
    carts, removes, purchases = (round(events * share) for share in (_CARTS, _REMOVES, _PURCHASES))
    shuffled = rng.permutation(len(time))
    first_bought = carts - round(purchases * _FROM_CART)
    bought = shuffled[first_bought : first_bought + purchases]
    view = np.concatenate([np.arange(len(time)), shuffled[:carts], shuffled[:removes], bought])
    kind = np.repeat(np.arange(len(_TYPES)), [len(time), carts, removes, purchases])
    delay = rng.integers(np.array([0, 5, 100, 100])[kind], np.array([1, 90, 600, 600])[kind])
    when = np.minimum(time[view] + delay, _END - 1)
    order = np.lexsort((view, kind, when))
    return view[order], kind[order], when[order]


def _as_clock(time: Ints) -> Texts:
    instants = np.datetime_as_string(_FIRST_SECOND + time.astype("timedelta64[s]"))
    return np.char.add(np.char.replace(instants, "T", " "), " UTC")


def _user_ids(rng: Generator, users: int) -> Texts:
    return (512_000_000 + rng.choice(60_000_000, users, replace=False)).astype(str)


def _session_ids(rng: Generator, sessions: int) -> Texts:
    noise = rng.bytes(16 * sessions)
    return np.array([str(uuid.UUID(bytes=noise[at : at + 16], version=4)) for at in range(0, len(noise), 16)])
