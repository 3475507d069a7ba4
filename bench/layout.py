"""`python -m bench.layout FOLDER`: the reads of trends and of as-of answers, by the layout of the events.

Prints as JSON the median seconds of each read, by DuckDB over Parquet as in the tasks of the batch layer.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import duckdb

from bench.batch import parquet_files
from bench.case import Case, Column, Figures, Run, Table
from bench.freshness import tree_bytes
from bench.process import Measurement
from bench.results import last_figures
from bench.testbed import FOLDER, Testbed
from lambda_spark.delta.tables import EVENTS

# layout -> query|options of the COPY by which DuckDB writes the events
LAYOUTS: Mapping[str, str] = {
    "by day, as they came": "SELECT * FROM events ORDER BY event_time|PARTITION_BY (event_date)",
    "by day, users together": "SELECT * FROM events ORDER BY event_date, user_id, event_time|PARTITION_BY (event_date)",
    "by time only": "SELECT * FROM events ORDER BY event_time|ROW_GROUPS_PER_FILE 4",
    "by user": "SELECT *, user_id % 30 AS part FROM events ORDER BY part, user_id, event_time|PARTITION_BY (part)",
}
_COUNTS = "SELECT product_id, count(*), count(DISTINCT user_id) FROM events WHERE {} GROUP BY product_id"
_BRANDS = (
    "SELECT user_id, brand, max(event_time) FROM events WHERE event_time < TIMESTAMPTZ '2019-11-15' AND {} GROUP BY ALL"
)
READS: Mapping[str, str] = {
    "day": _COUNTS.format("event_time >= TIMESTAMPTZ '2019-11-15' AND event_time < TIMESTAMPTZ '2019-11-16'"),
    "week": _COUNTS.format("event_time >= TIMESTAMPTZ '2019-11-15' AND event_time < TIMESTAMPTZ '2019-11-22'"),
    "brands": _BRANDS.format("true"),
    "user": _BRANDS.format("user_id = (SELECT max(user_id) FROM first_events)"),
}
COLUMNS = (
    Column("day", "counts of a day, s", "{:,.2f}"),
    Column("week", "counts of a week, s", "{:,.2f}"),
    Column("brands", "brands of all users as of the 15th, s", "{:,.2f}"),
    Column("user", "of one user, s", "{:,.3f}"),
    Column("mb", "on disk, MB"),
)
_REPETITIONS = 5


def layout_table(testbed: Testbed) -> Table:
    """Return the table of the same events in several layouts."""
    events = testbed.scale.batch_sizes[-2]
    cases = [Case(name, partial(_run, testbed, events, name), repetitions=1) for name in LAYOUTS]
    return Table("layout", "Layout of `events`", cases, COLUMNS, "", ("duckdb",), f"{events:,} events of a month")


def main() -> None:
    """Time the reads."""
    options = argparse.ArgumentParser(prog="python -m bench.layout", description=__doc__)
    options.add_argument("folder", type=Path)
    folder = options.parse_args().folder
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    files = sorted(map(str, folder.rglob("*.parquet")))
    connection.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet({files})")
    connection.execute("CREATE TABLE first_events AS SELECT user_id FROM events LIMIT 1000")
    seconds = {name: median(_seconds(connection, sql) for _ in range(_REPETITIONS)) for name, sql in READS.items()}
    print(json.dumps(seconds))


def _seconds(connection: duckdb.DuckDBPyConnection, sql: str) -> float:
    begin = perf_counter()
    connection.execute(sql).to_arrow_table()
    return perf_counter() - begin


def _run(testbed: Testbed, events: int, layout: str, _: Path) -> Run:
    folder = FOLDER / f"layout-{events}" / layout.replace(" ", "-").replace(",", "")
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        files = parquet_files(testbed.batch_root(events) / EVENTS.name)
        rows, options = LAYOUTS[layout].split("|")
        connection = duckdb.connect(config={"memory_limit": "10GB"})
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE VIEW events AS SELECT * FROM read_parquet({files}, hive_partitioning = true)")
        connection.execute(f"COPY ({rows}) TO '{folder}' (FORMAT parquet, COMPRESSION zstd, {options})")

    def figures(measured: Measurement) -> Figures:
        return {**last_figures(measured.output), "mb": tree_bytes(folder) / 1e6}

    return Run([sys.executable, "-m", "bench.layout", str(folder)], {}, figures)


if __name__ == "__main__":
    main()
