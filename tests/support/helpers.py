"""Small events, functions that send or write them, and stored tables as plain Python values."""

import csv
import gzip
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow.parquet as pq
from deltalake import DeltaTable
from kafka import KafkaProducer
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lambda_spark.delta import tables
from lambda_spark.delta.event_log import EventFile
from lambda_spark.delta.tables import REPLAYED_REJECTS, Table, path_of
from lambda_spark.schemas import EVENT_COLUMNS
from lambda_spark.settings import PROJECT_ROOT, KafkaSettings, Settings

# Seconds until a test gives up waiting: a guard against hanging only, far more than a busy machine takes.
PATIENCE = 300

REAL_DATA = PROJECT_ROOT.parent / "shared" / "data"

# A function that loads the settings of a test, with a separate topic and data root.
NewSettings = Callable[..., Settings]

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

# user_id -> ((brand, last_seen_at in microseconds since 1970), …), newest first
Lists = dict[int, tuple[tuple[str, int], ...]]


def event(at: str, user_id: int, product_id: int, **other: object) -> dict[str, str]:
    """Return an event of a time such as `2020-03-01 12:00:00`, of brand b<product_id> unless `other` names one."""
    values = {"event_type": "view", "category_id": 1, "category_code": "a.b", "brand": f"b{product_id}", "price": 9.5}
    given = values | {"event_time": f"{at} UTC", "product_id": product_id, "user_id": user_id} | other
    return {name: str(given.get(name, "")) for name in EVENT_COLUMNS}


def shop_days(days: Iterable[int]) -> list[dict[str, str]]:
    """Return the events of whole days of March 2020: six products, five users; product 1 is viewed more each day."""
    return [
        event(f"2020-03-{day:02} {23 - view % 24:02}:30:00", (product + day + view) % 5 + 1, product)
        for day in days
        for product in range(1, 7)
        for view in range(3 * day if product == 1 else 4)
    ]


def random_events(count: int, seed: int) -> list[dict[str, str]]:
    """Return events in no order of time, of twelve users and ten brands; some events have no brand."""
    rng = random.Random(seed)
    return [
        event(
            f"2020-03-{rng.randint(1, 3):02} 12:00:{rng.randint(0, 59):02}",
            user_id=rng.randint(1, 12),
            product_id=rng.randint(1, 9),
            brand=rng.choice(["Ålma", " ålma ", "p.i.t.", "", "Unknown", "a\tb", 'say "x"', *"defghi"]),
        )
        for _ in range(count)
    ]


def send(kafka: KafkaSettings, messages: Iterable[Mapping[str, str] | bytes | None]) -> int:
    """Send events as JSON with the user as key, and bytes or None as they are; return how many were sent."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, max_request_size=8_000_000)
    sent = []
    for message in messages:
        is_event = isinstance(message, Mapping)
        value = json.dumps(message).encode() if is_event else message
        sent.append(producer.send(kafka.topic, value, message["user_id"].encode() if is_event else b"no key"))
    producer.flush()
    producer.close()
    return len([future.get() for future in sent])


def write_events(path: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, EVENT_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def read_events(path: Path) -> list[dict[str, str]]:
    """Read the rows of an event file that have all nine fields."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return [row for row in csv.DictReader(file) if row["user_session"] is not None]


def expected_lists(rows: Iterable[Mapping[str, str]], limit: int = 50) -> Lists:
    """Compute each user's recent brands from the rows, in plain Python."""
    seen: dict[int, dict[str, int]] = {}
    for row in rows:
        brand = row["brand"].strip().lower()
        if brand not in ("", "unknown"):
            brands = seen.setdefault(int(row["user_id"]), {})
            brands[brand] = max(micros(row["event_time"]), brands.get(brand, 0))
    return {
        user_id: tuple(sorted(brands.items(), key=lambda item: (-item[1], item[0]))[:limit])
        for user_id, brands in seen.items()
    }


def micros(event_time: str) -> int:
    """Return microseconds since 1970 of a time such as `2020-03-01 12:00:00 UTC`."""
    return (datetime.fromisoformat(event_time.replace(" UTC", "+00:00")) - EPOCH) // timedelta(microseconds=1)


def event_file(path: Path, events: DataFrame) -> EventFile:
    """Write events to a Parquet file like those of the master dataset."""
    rows = events.toArrow()
    pq.write_table(rows, path)
    return EventFile(str(path), date(2020, 3, 1), len(rows))


def lists_of(brands: DataFrame) -> Lists:
    """Collect rows of (user_id, brands). Fails if a user has two rows."""
    items = F.transform("brands", lambda item: F.struct(item["brand"], F.unix_micros(item["last_seen_at"])))
    rows = brands.select("user_id", items.alias("brands")).collect()
    lists = {row.user_id: tuple(map(tuple, row.brands)) for row in rows}
    assert len(lists) == len(rows)
    return lists


def stored_lists(root: str, table: Table) -> Lists:
    """Read the lists of a stored table without Spark; of a user's rows the one of the latest micro-batch counts."""
    rows = DeltaTable(path_of(root, table)).to_pyarrow_table().to_pylist()
    rows.sort(key=lambda row: row.get("batch_id", 0))
    return {
        row["user_id"]: tuple((item["brand"], micros(str(item["last_seen_at"]))) for item in row["brands"])
        for row in rows
    }


def contents(root: str, table: Table, exclude: Sequence[str] = ()) -> Counter[str]:
    """Read a stored table as a multiset of its rows, without some columns and without Spark."""
    rows = DeltaTable(path_of(root, table)).to_pyarrow_table().drop_columns(list(exclude))
    return Counter(map(str, rows.to_pylist()))


# The tables that a run of all jobs writes.
ALL_TABLES = [value for value in vars(tables).values() if isinstance(value, Table) and value != REPLAYED_REJECTS]


def all_tables(root: str) -> dict[str, Counter[str]]:
    """Read every table as a multiset of its rows, without the time of processing."""
    times = {tables.REJECTED_EVENTS.name: ["rejected_at"]}
    return {table.name: contents(root, table, times.get(table.name, ())) for table in ALL_TABLES}


def run_job(command: Sequence[str], settings: Settings, cwd: Path, **variables: str) -> str:
    """Run a command in an activated environment with these settings; return its output. Fails if it fails."""
    surroundings = environment_of(settings, **variables)
    done = subprocess.run(command, env=surroundings, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment_of(settings: Settings, **variables: str) -> dict[str, str]:
    """Return the variables of an activated environment with these settings."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return {
        **usual,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "LAMBDA_DATA_ROOT": str(settings.data_root),
        "LAMBDA_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
        "LAMBDA_KAFKA__TOPIC": settings.kafka.topic,
        "LAMBDA_SPEED__SHARDS": str(settings.speed.shards),
        "LAMBDA_SPEED__STATE_PARTITIONS": str(settings.speed.state_partitions),
        "LAMBDA_TRENDS": settings.trends.model_dump_json(exclude_none=True),
        **variables,
    }


def versions(root: str) -> dict[str, int]:
    """Return the version of each table in the data root."""
    return {path.parent.name: DeltaTable(path.parent).version() for path in Path(root).glob("*/_delta_log")}
