"""A seeded month of shop events in the nine REES46 columns, with trends planted in its last days.

It is made at once, or, for a shop as large as the one of REES46, day by day: each day depends on the seed and its
number alone, so that the days can be made anywhere in any order.
"""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.random import Generator, default_rng
from pyarrow import csv

from lambda_spark.schemas import EVENT_COLUMNS
from lambda_spark.synthetic_shop import DAYS, Catalogue, Ints, ShopSize, make_catalogue
from lambda_spark.synthetic_visits import DAY_SECONDS, EVENT_TYPES, Visits, events_by_day, make_visits

FIRST_DAY = date(2019, 11, 1)
# A month of REES46 has 18 events a user. Every fifth user of the generated one never comes.
_EVENTS_PER_USER, _EVENTS_PER_PRODUCT = 14.2, 355
_BRANDS, _KINDS = 4_000, 10
_WEEK_SECONDS = 7 * DAY_SECONDS
_FIRST_USER_ID, _USER_IDS = 512_000_000, 60_000_000


def generate_month(
    seed: int = 7, *, events: int = 300_000, users: int = 20_000, products: int = 3_000, drift: float = 0.0
) -> pa.Table:
    """Return the events of November 2019 as the texts of an event file, in the order of time.

    Users are loyal to few brands; each week they give up that share of them, `drift`, for others.

    The same arguments give the same events. The last event is of the 30th, 23:00 or later. In the default month each
    planted product has 3 to 6 times as many events a day from the 28th to the 30th as from the 24th to the 27th.
    """
    catalogue, rng = make_catalogue(seed, ShopSize(products)), default_rng([seed, 1])
    visits = make_visits(rng, rng, catalogue, range(DAYS), events, users, drift)
    user_ids = _FIRST_USER_ID + rng.choice(_USER_IDS, users, replace=False)
    return _as_texts(rng, catalogue, visits, user_ids)


def generate_day(seed: int, events: int, day: int) -> pa.Table:
    """Return one day (0 is the 1st) of a month of so many events in a large shop, as `generate_month` does.

    67.5 million events are those of 3.7 million users on 190,000 products of 4,000 brands; smaller months have users
    and products in proportion.
    """
    rng, people = default_rng([seed, 2, day]), default_rng([seed, 3])
    users = round(events / _EVENTS_PER_USER)
    catalogue = make_catalogue(seed, large_shop(events))
    visits = make_visits(rng, people, catalogue, range(day, day + 1), int(events_by_day(events)[day]), users)
    user_ids = _FIRST_USER_ID + np.cumsum(people.integers(1, 2 * _USER_IDS // users, users))
    return _as_texts(rng, catalogue, visits, user_ids)


def large_shop(events: int) -> ShopSize:
    """Return the size of the shop in which `generate_day` makes a month of so many events."""
    return ShopSize(round(events / _EVENTS_PER_PRODUCT), _BRANDS, _KINDS)


def day_file(day: int) -> str:
    """Return the name of the event file of a day."""
    return f"{FIRST_DAY + timedelta(day)}.csv"


def planted_product_ids(seed: int = 7, size: ShopSize | None = None) -> list[int]:
    """Return the ids of the products with a planted trend in the months of that seed and shop."""
    catalogue = make_catalogue(seed, size or ShopSize(3_000))
    return [int(product_id) for product_id in catalogue.product_id[catalogue.planted]]


def write_month(path: Path, seed: int = 7, *, events: int = 300_000) -> None:
    """Write the month of `generate_month` as an event file; `path` is there in full or not at all."""
    write_events(path, generate_month(seed, events=events))


def write_events(path: Path, events: pa.Table) -> None:
    """Write the texts of events as an event file; `path` is there in full or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        file.write((",".join(EVENT_COLUMNS) + "\n").encode())
        csv.write_csv(events, file, csv.WriteOptions(include_header=False, quoting_style="none"))
    unfinished.replace(path)


def _as_texts(rng: Generator, catalogue: Catalogue, visits: Visits, user_ids: Ints) -> pa.Table:
    week, products = visits.time // _WEEK_SECONDS, len(catalogue.product_id)
    seconds, second = np.unique(visits.time, return_inverse=True)
    texts = {
        "event_time": (_as_clock(seconds), second),
        "event_type": (EVENT_TYPES, visits.kind),
        "product_id": (catalogue.product_id, visits.product),
        "category_id": (catalogue.category_id, visits.product),
        "category_code": (catalogue.category_code, visits.product),
        "brand": (catalogue.brand, visits.product),
        "price": (catalogue.week_price.ravel(), week * products + visits.product),
        "user_session": (_session_ids(rng, int(visits.session.max()) + 1), visits.session),
    }
    columns = {name: pa.array(values, pa.string()).take(pa.array(at)) for name, (values, at) in texts.items()}
    columns["user_id"] = pa.array(user_ids[visits.user]).cast(pa.string())
    return pa.table(columns).select(EVENT_COLUMNS)


def _as_clock(time: Ints) -> list[str]:
    instants = np.datetime_as_string(np.datetime64(FIRST_DAY, "s") + time.astype("timedelta64[s]"))
    return [f"{instant.replace('T', ' ')} UTC" for instant in instants.tolist()]


def _session_ids(rng: Generator, sessions: int) -> pa.Array:
    """Return random UUIDs of version 4."""
    noise = np.frombuffer(rng.bytes(16 * sessions), np.uint8).reshape(-1, 16).copy()
    noise[:, 6] = noise[:, 6] & 0x0F | 0x40
    noise[:, 8] = noise[:, 8] & 0x3F | 0x80
    digits = np.frombuffer(noise.tobytes().hex().encode(), np.uint8).reshape(-1, 32)
    texts = np.insert(digits, [8, 12, 16, 20], ord("-"), axis=1)
    ends = np.arange(0, texts.size + 1, texts.shape[1], dtype=np.int32)
    return pa.StringArray.from_buffers(sessions, pa.py_buffer(ends), pa.py_buffer(texts.tobytes()))
