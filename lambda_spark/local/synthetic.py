"""A generated month of shop events in the nine REES46 columns, with trends planted in its last days.

A small month is generated at once. `make month` generates the month of a shop as large as REES46's with Spark, one
event file a day: each day depends only on the seed and its number, so tasks can generate the days in any order.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.random import Generator, default_rng
from pyarrow import csv
from pyspark.sql import SparkSession

from lambda_spark import cli
from lambda_spark.delta.session import get_spark
from lambda_spark.errors import EventFileError
from lambda_spark.local.synthetic_shop import (
    DAY_SECONDS,
    DAYS,
    EVENT_TYPES,
    Catalogue,
    Ints,
    ShopSize,
    Visits,
    events_by_day,
    make_catalogue,
    make_visits,
)
from lambda_spark.report.terminal import progress_bar
from lambda_spark.schemas import EVENT_COLUMNS

FIRST_DAY = date(2019, 11, 1)
FULL_MONTH = 67_500_000
_SEED = 7
_FEWEST_EVENTS = 10_000
_POLL_SECONDS = 0.5

# A month of REES46 has 18 events a user. A fifth of the generated users has no event.
_EVENTS_PER_USER, _EVENTS_PER_PRODUCT = 14.2, 355
_BRANDS, _KINDS = 4_000, 10
_WEEK_SECONDS = 7 * DAY_SECONDS
_FIRST_USER_ID, _USER_IDS = 512_000_000, 60_000_000


def generate_month(
    seed: int = 7, *, events: int = 300_000, users: int = 20_000, products: int = 3_000, drift: float = 0.0
) -> pa.Table:
    """Return the events of November 2019 as the texts of an event file, in the order of time.

    Users are loyal to few brands; each week they exchange the share `drift` of them. The same arguments give the same
    events. The last event is on the 30th at 23:00 or later. In the default month each planted product has 3 to 6 times
    as many events a day from the 28th to the 30th as from the 24th to the 27th.
    """
    catalogue, rng = make_catalogue(seed, ShopSize(products)), default_rng([seed, 1])
    visits = make_visits(rng, rng, catalogue, range(DAYS), events, users, drift)
    user_ids = _FIRST_USER_ID + rng.choice(_USER_IDS, users, replace=False)
    return _as_text_columns(rng, catalogue, visits, user_ids)


def generate_day(seed: int, events: int, day: int) -> pa.Table:
    """Return one day (0 is the 1st) of a month of so many events in a large shop, in the form of `generate_month`.

    A month of 67.5 million events has 3.7 million users, 190,000 products and 4,000 brands; a smaller month has fewer
    users and products in proportion.
    """
    rng, people = default_rng([seed, 2, day]), default_rng([seed, 3])
    users = round(events / _EVENTS_PER_USER)
    catalogue = make_catalogue(seed, large_shop(events))
    visits = make_visits(rng, people, catalogue, range(day, day + 1), int(events_by_day(events)[day]), users)
    user_ids = _FIRST_USER_ID + np.cumsum(people.integers(1, 2 * _USER_IDS // users, users))
    return _as_text_columns(rng, catalogue, visits, user_ids)


def large_shop(events: int) -> ShopSize:
    """Return the size of the shop of `generate_day` for a month of so many events."""
    return ShopSize(round(events / _EVENTS_PER_PRODUCT), _BRANDS, _KINDS)


def day_file(day: int) -> str:
    """Return the name of the event file of a day."""
    return f"{FIRST_DAY + timedelta(day)}.csv"


def planted_product_ids(seed: int = 7, size: ShopSize | None = None) -> list[int]:
    """Return the ids of the products with a planted trend for that seed and size of shop."""
    catalogue = make_catalogue(seed, size or ShopSize(3_000))
    return [int(product_id) for product_id in catalogue.product_id[catalogue.planted]]


def write_month(path: Path, seed: int = 7, *, events: int = 300_000) -> None:
    """Write the month of `generate_month` as an event file; `path` exists complete or not at all."""
    write_events(path, generate_month(seed, events=events))


def write_events(path: Path, events: pa.Table) -> None:
    """Write the texts of events as an event file; `path` exists complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        file.write((",".join(EVENT_COLUMNS) + "\n").encode())
        csv.write_csv(events, file, csv.WriteOptions(include_header=False, quoting_style="none"))
    unfinished.replace(path)


def write_full_month(spark: SparkSession, folder: Path, events: int, on_progress: Callable[[int, int], None]) -> None:
    """Write the days of `generate_day` as event files; `folder` exists complete or not at all.

    The files don't depend on the number of cores. Raises EventFileError if the folder exists.
    """
    if folder.exists():
        raise EventFileError(f"There is a month in {folder} already: remove that folder to generate another.")
    unfinished = folder.with_name(folder.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)

    def write_days(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for day in batch["id"].to_pylist():
                write_events(unfinished / day_file(day), generate_day(_SEED, events, day))
            yield batch

    tasks = spark.range(0, DAYS, numPartitions=DAYS).mapInArrow(write_days, "id bigint")
    sizes = [int(size) for size in events_by_day(events)]
    with ThreadPoolExecutor(1) as driver:
        writing = driver.submit(tasks.collect)
        while wait([writing], _POLL_SECONDS).not_done:
            on_progress(sum(sizes[day] for day in range(DAYS) if (unfinished / day_file(day)).exists()), events)
        writing.result()
    unfinished.replace(folder)


def _as_text_columns(rng: Generator, catalogue: Catalogue, visits: Visits, user_ids: Ints) -> pa.Table:
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
    columns = {name: pa.array(values, pa.string()).take(pa.array(index)) for name, (values, index) in texts.items()}
    columns["user_id"] = pa.array(user_ids[visits.user]).cast(pa.string())
    return pa.table(columns).select(EVENT_COLUMNS)


def _as_clock(time: Ints) -> list[str]:
    instants = np.datetime_as_string(np.datetime64(FIRST_DAY, "s") + time.astype("timedelta64[s]"))
    return [f"{instant.replace('T', ' ')} UTC" for instant in instants.tolist()]


def _session_ids(rng: Generator, sessions: int) -> pa.Array:
    """Return random UUIDs of version 4 as texts."""
    noise = np.frombuffer(rng.bytes(16 * sessions), np.uint8).reshape(-1, 16).copy()
    noise[:, 6] = noise[:, 6] & 0x0F | 0x40
    noise[:, 8] = noise[:, 8] & 0x3F | 0x80
    digits = np.frombuffer(noise.tobytes().hex().encode(), np.uint8).reshape(-1, 32)
    texts = np.insert(digits, [8, 12, 16, 20], ord("-"), axis=1)
    ends = np.arange(0, texts.size + 1, texts.shape[1], dtype=np.int32)
    return pa.StringArray.from_buffers(sessions, pa.py_buffer(ends), pa.py_buffer(texts.tobytes()))


def main() -> None:
    """Parse the options and write the month."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=FULL_MONTH, help=f"how many (default: {FULL_MONTH:,})")
    cli.add_table_options(options)
    args = options.parse_args()
    if args.events < _FEWEST_EVENTS:
        options.error(f"{args.events} events are too few for the month of a shop: ask for {_FEWEST_EVENTS:,} or more.")
    folder = cli.load(args).local_root / "month"
    with progress_bar("Generating") as on_progress:
        write_full_month(get_spark("month"), folder, args.events, on_progress)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{args.events:,} events in {DAYS} files, {size / 1e9:.1f} GB: {folder}")


if __name__ == "__main__":
    cli.run(main)
