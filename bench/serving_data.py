"""The data of the serving bench, written without Spark: the tables of a shop with many users, and answers by key."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pyarrow as pa
from numpy.random import default_rng
from pyspark.sql import Row

from bench.testbed import FOLDER, Testbed, known_user_ids
from lambda_spark.batch.bucket_counts import count_here
from lambda_spark.batch.tasks import day_span
from lambda_spark.delta import commits, event_log, tables
from lambda_spark.delta.coverage import COVERS, EVENTS_VERSION, RULE
from lambda_spark.delta.parquet_files import FileWriter
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY, USER_BRANDS, Table
from lambda_spark.events.event_files import whole_file
from lambda_spark.events.parsing import divide, parse_range
from lambda_spark.history import merging
from lambda_spark.local.synthetic import FIRST_DAY, generate_day, large_shop, write_events
from lambda_spark.local.synthetic_shop import DAYS, Catalogue, make_catalogue
from lambda_spark.settings import load_settings
from lambda_spark.time_ranges import MICROSECOND, micros, start_of

# The trends are those of a month of so many events, 14,000 products and 4,000 brands; only its last days are written.
EVENTS_A_MONTH = 5_000_000
_DAYS_WRITTEN = range(DAYS - 8, DAYS)
_SEED = 7
# Several views may be of one brand: 9 brands a user are left.
_VIEWS_A_USER = 11
_USERS_PER_PART = 250_000
_ANSWERS_A_USER = 10


def serving_root(testbed: Testbed, users: int) -> Path:
    """Return a data root with events, their counts, and the brands of so many users; made once."""
    root, unfinished = FOLDER / f"serving-{users}", testbed.folder / f"serving-{users}"
    if not root.exists():
        print(f"Making the views of {users:,} users ...", flush=True)
        write_views(str(unfinished), users, EVENTS_A_MONTH)
        unfinished.replace(root)
    return root


def answers_file(testbed: Testbed, users: int) -> Path:
    """Return a SQLite file with an answer of ten products for each of so many users; made once."""
    file, unfinished = FOLDER / f"answers-{users}.sqlite", testbed.folder / f"answers-{users}.sqlite"
    if not file.exists():
        print(f"Making the answers of {users:,} users ...", flush=True)
        write_answers(unfinished, users)
        unfinished.replace(file)
    return file


def write_views(root: str, users: int, events_a_month: int) -> None:
    """Write `events`, `product_activity` and `user_brands` as the jobs would."""
    brands = load_settings().brands
    _write(root, EVENTS, (_events(root, users, events_a_month, day) for day in _DAYS_WRITTEN), None)
    version, files = tables.version_of(root, EVENTS), event_log.event_files(root)
    lineage = {EVENTS_VERSION: version, COVERS: {}}
    days = sorted({file.day for file in files})
    counts = count_here([day_span(files, day) for day in days])
    counts = counts.set_column(0, "event_date", counts["bucket_at"].cast(pa.date32()))
    _write(root, PRODUCT_ACTIVITY, [counts], lineage)
    catalogue = make_catalogue(_SEED, large_shop(events_a_month))
    lists = _brand_lists(users, catalogue, brands.limit)
    _write(root, USER_BRANDS, lists, {**lineage, RULE: brands.model_dump(mode="json")})


def write_answers(file: Path, users: int) -> None:
    """Write a row of (user_id, answer) per user."""
    products = make_catalogue(_SEED, large_shop(EVENTS_A_MONTH)).product_id.tolist()
    rng = default_rng(_SEED)

    def rows() -> Iterator[tuple[int, str]]:
        for user_id in known_user_ids(users):
            chosen = rng.integers(0, len(products), _ANSWERS_A_USER).tolist()
            answer = [{"product_id": products[row], "score": row / len(products)} for row in chosen]
            yield user_id, json.dumps(answer)

    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE recommendations (user_id INTEGER PRIMARY KEY, answer TEXT NOT NULL)")
        connection.executemany("INSERT INTO recommendations VALUES (?, ?)", rows())
    connection.close()


def _write(root: str, table: Table, parts: Iterable[pa.Table], lineage: Mapping[str, Any] | None) -> None:
    parts = iter(parts)
    first = next(parts)
    partitions = table.partitioned_by
    deltalake.DeltaTable.create(tables.path_of(root, table), first.schema, partition_by=partitions)
    writer = FileWriter(commits.write_target(root, table))
    for part in chain([first], parts):
        writer.write(part)
    written = [Row(**file) for file in writer.finish().to_pylist()]
    commits.commit_staged(root, commits.Staged(table, written, None, lineage))


def _events(root: str, users: int, events_a_month: int, day: int) -> pa.Table:
    """Return the events of a day, by known users."""
    texts = generate_day(_SEED, events_a_month, day)
    ids = default_rng([_SEED, day]).choice(known_user_ids(users), len(texts))
    texts = texts.set_column(texts.column_names.index("user_id"), "user_id", pa.array(ids).cast(pa.string()))
    file = Path(f"{root}-{day}.csv")
    write_events(file, texts)
    events = pa.concat_tables(divide(parsed)[1] for parsed in parse_range(whole_file(file)))
    file.unlink()
    return events


def _brand_lists(users: int, catalogue: Catalogue, limit: int) -> Iterator[pa.Table]:
    """Yield the lists of all users, in random order, of brands that they viewed in the month."""
    rng, ids = default_rng([_SEED, users]), np.array(known_user_ids(users))
    rng.shuffle(ids)
    names, brand_of = np.unique(catalogue.brand, return_inverse=True)  # the first is the empty name
    chance = catalogue.share * (brand_of > 0)
    start, length = micros(start_of(FIRST_DAY)), timedelta(DAYS) // MICROSECOND
    for first in range(0, users, _USERS_PER_PART):
        some = ids[first : first + _USERS_PER_PART]
        user = np.repeat(some, rng.geometric(1 / _VIEWS_A_USER, len(some)))
        brand = brand_of[rng.choice(len(chance), len(user), p=chance / chance.sum())].astype(np.int32)
        no_offset = np.zeros(len(user), np.int64)
        columns = [user, pa.DictionaryArray.from_arrays(brand, names.tolist())]
        columns += [rng.integers(start, start + length, len(user)), no_offset.astype(np.int32), no_offset]
        seen = pa.Table.from_arrays([pa.array(column) for column in columns], schema=merging.SIGHTINGS)
        yield pa.Table.from_batches([merging.brand_lists(merging.merge(seen, limit))])
