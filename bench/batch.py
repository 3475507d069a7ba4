"""The batch layer on a full month, step by step, beside DuckDB, Polars and pandas, and on months of several sizes.

The alternatives read the same Parquet files, and every answer must be lambda-spark's, row by row.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import altair
import duckdb
import pandas as pd
from deltalake import DeltaTable

from bench.case import Case, Column, Figures, Run, Table
from bench.freshness import tree_bytes
from bench.process import BenchError, Measurement
from bench.results import last_figures
from bench.testbed import TREND_RANK, Testbed
from bench.throughput import ALTERNATIVES
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY, RECOMMENDATIONS, TRENDS, USER_BRANDS
from lambda_spark.settings import PROJECT_ROOT

ANSWER = "answer"
PACKAGES = ("pyspark", "delta-spark", "deltalake", "duckdb", "polars", "pandas", "pyarrow")
COLUMNS = (
    Column("seconds", "s", "{:,.2f}", has_ratio=True),
    Column("rows_per_second", "events/s"),
    Column("cpu_seconds", "processor, s", "{:,.1f}"),
    Column("peak_mb", "peak memory, MB"),
    Column("answer_mb", "answer, MB", "{:,.1f}"),
)
GROWTH_CHART = PROJECT_ROOT / "docs" / "benchmarks-batch.svg"
_NOT_DELTA = "Parquet, no Delta, not resumable"


class Step(NamedTuple):
    """A step of the batch layer: its title, the tables that it reads, and the table that it writes, if any."""

    title: str
    reads: tuple[str, ...]
    writes: str | None


STEPS: Mapping[str, Step] = {
    "files": Step("Files to `events`", (), EVENTS.name),
    "activity": Step("`events` to `product_activity`", (EVENTS.name,), PRODUCT_ACTIVITY.name),
    "brands": Step("`events` to `user_brands`", (EVENTS.name,), USER_BRANDS.name),
    "window": Step("`product_activity` to a 7-day window", (EVENTS.name, PRODUCT_ACTIVITY.name), None),
    "windows": Step("`product_activity` to all 7-day windows", (EVENTS.name, PRODUCT_ACTIVITY.name), TRENDS.name),
    "recommend": Step(
        "Recommendations for all users",
        (EVENTS.name, PRODUCT_ACTIVITY.name, TRENDS.name, USER_BRANDS.name),
        RECOMMENDATIONS.name,
    ),
}

_GROWTH_STEPS = ("files", "activity", "window", "windows", "brands", "recommend")
_GROWTH_COLUMNS = (
    *(Column(step, f"{step}, s", "{:,.2f}") for step in _GROWTH_STEPS),
    Column("peak_mb", "peak memory, MB"),
)

_TREND = (
    "CAST(window_to AS DATE), CAST(rank AS BIGINT), product_id, brand, category_code, CAST(event_count AS BIGINT),"
    " CAST(user_count AS BIGINT), round(total_pct_increase, 6), is_new, round(trend_score, 9), round(growth_pct, 6),"
    " round(z, 6), confidence"
)
# step -> the columns that are compared; fractions are rounded, since sums may differ in their last digits.
_COMPARED = {
    "files": "event_time, event_type, product_id, category_id, category_code, brand, price, user_id, user_session",
    "activity": (
        "event_date, product_id, brand, category_code, view_count, cart_count, remove_count, purchase_count,"
        " event_count, user_count, last_price"
    ),
    "brands": "user_id, list_transform(brands, item -> (item.brand, epoch_us(item.last_seen_at)))",
    "windows": _TREND,
    "window": _TREND,
    "recommend": (
        "user_id, CAST(rank AS BIGINT), product_id, brand, CAST(trend_rank AS BIGINT), round(trend_score, 9),"
        " round(total_pct_increase, 6), CAST(brand_position AS BIGINT), epoch_us(brand_last_seen_at)"
    ),
}

# The number of rows and the sum of their hashes: equal for the same rows in any order.
Digest = tuple[int, int]


def batch_table(step: str, testbed: Testbed) -> Table:
    """Return the table of a step, by lambda-spark and by the alternatives."""
    module = ["bench.batch_steps", step, "--month", str(testbed.month(testbed.scale.batch_events))]
    cases = [Case("lambda-spark", partial(_own_run, testbed, step, module), "Delta, can be run again")]
    if step == "window":
        module = ["bench.batch_steps", step, "--without-spark"]
        cases.append(Case("lambda-spark, no Spark", partial(_own_run, testbed, step, module)))
    remark = "Delta by delta-rs, no rejects kept" if step == "files" else _NOT_DELTA
    cases += [Case(name, partial(_other_run, testbed, step, name), remark) for name in ("DuckDB", "Polars")]
    if step == "activity":
        share = f"from the files of the first {testbed.scale.pandas_days} days, in memory"
        cases.append(Case("pandas, as the original system", partial(_pandas_run, testbed), share, 1))
    cases = [case._replace(repetitions=case.repetitions or testbed.scale.long_repetitions) for case in cases]
    data = f"{testbed.scale.batch_events:,} events of a month"
    return Table(f"batch-{step}", STEPS[step].title, cases, COLUMNS, "what it keeps", PACKAGES, data)


def batch_growth_table(testbed: Testbed) -> Table:
    """Return the table of all steps on months of several sizes, one Spark session per size."""
    seconds: dict[int, Figures] = {}
    cases = [
        Case(f"{events:,} events", partial(_growth_run, testbed, events, seconds), repetitions=1)
        for events in testbed.scale.batch_sizes
    ]
    return Table(
        "batch-growth", "Growth of the batch layer", cases, _GROWTH_COLUMNS, "", PACKAGES, "months of several sizes"
    )


def digest(step: str, files: Sequence[str], condition: str = "true") -> Digest:
    """Return the digest of the rows of an answer in Parquet files."""
    connection = duckdb.connect(config={"memory_limit": "8GB"})
    connection.execute("SET TimeZone = 'UTC'")
    rows = f"read_parquet({list(files)}, hive_partitioning = true, union_by_name = true)"
    columns = f"SELECT hash({_COMPARED[step]}) AS row FROM {rows} WHERE {condition}"
    count, total = connection.execute(f"SELECT count(*), coalesce(sum(row), 0) FROM ({columns})").fetchall()[0]
    return count, total


def check(step: str, right: Digest, found: Digest) -> None:
    """Raise BenchError if the answers differ."""
    if right != found:
        raise BenchError(f"The answers to {step!r} differ: {right[0]:,} rows are right, {found[0]:,} were found.")


def parquet_files(table: Path) -> list[str]:
    """Return the files of a table's newest version."""
    return sorted(DeltaTable(table).file_uris())


def draw_growth(seconds: dict[int, Figures], path: Path) -> None:
    """Draw the seconds of each step over the number of events, both on logarithmic scales."""
    rows = pd.DataFrame.from_dict(seconds, orient="index").rename_axis("events").reset_index()
    points = rows.melt("events", list(_GROWTH_STEPS), "step", "seconds")
    chart = altair.Chart(points).mark_line(point=True)
    chart = chart.encode(
        altair.X("events", scale=altair.Scale(type="log"), title="events"),
        altair.Y("seconds", scale=altair.Scale(type="log"), title="seconds"),
        altair.Color("step", title=None, sort=list(_GROWTH_STEPS)),
    )
    chart.properties(width=480, height=320).save(path)


def _own_run(testbed: Testbed, step: str, module: list[str], scratch: Path) -> Run:
    base, writes = testbed.batch_root(testbed.scale.batch_events), STEPS[step].writes
    for table in STEPS[step].reads:
        (scratch / table).symlink_to(base / table)

    def figures(measured: Measurement) -> Figures:
        if writes:
            check(step, digest(step, parquet_files(base / writes)), digest(step, parquet_files(scratch / writes)))
        answer_bytes = tree_bytes(scratch / writes) if writes else None
        return _figures(testbed.scale.batch_events, last_figures(measured.output)[step], measured, answer_bytes)

    return Run([sys.executable, "-m", *module], {"LAMBDA_DATA_ROOT": str(scratch), **TREND_RANK}, figures)


def _other_run(testbed: Testbed, step: str, name: str, scratch: Path) -> Run:
    base = testbed.batch_root(testbed.scale.batch_events)
    inputs = {table: parquet_files(base / table) for table in STEPS[step].reads}
    inputs["month"] = sorted(map(str, testbed.month(testbed.scale.batch_events).iterdir()))
    (scratch / "inputs.json").write_text(json.dumps(inputs))
    is_last = f"window_to = (SELECT max(window_to) FROM read_parquet({parquet_files(base / TRENDS.name)}))"

    def figures(measured: Measurement) -> Figures:
        answer = scratch / (EVENTS.name if step == "files" else ANSWER)
        found = digest(step, parquet_files(answer) if step == "files" else _answer_files(scratch))
        right = parquet_files(base / (STEPS[step].writes or TRENDS.name))
        check(step, digest(step, right, is_last if step == "window" else "true"), found)
        seconds = last_figures(measured.output)["seconds"]
        return _figures(testbed.scale.batch_events, seconds, measured, tree_bytes(answer))

    script = ALTERNATIVES / f"batch_{name.lower()}.py"
    return Run([sys.executable, str(script), step, str(scratch)], {}, figures)


def _pandas_run(testbed: Testbed, scratch: Path) -> Run:
    days = sorted(testbed.month(testbed.scale.batch_events).iterdir())[: testbed.scale.pandas_days]
    (scratch / "inputs.json").write_text(json.dumps({"month": list(map(str, days))}))
    activity = parquet_files(testbed.batch_root(testbed.scale.batch_events) / PRODUCT_ACTIVITY.name)

    def figures(measured: Measurement) -> Figures:
        printed = last_figures(measured.output)
        first_days = f"event_date < DATE '2019-11-01' + {len(days)}"
        check("activity", digest("activity", activity, first_days), digest("activity", _answer_files(scratch)))
        return _figures(int(printed["rows"]), printed["seconds"], measured, tree_bytes(scratch / ANSWER))

    return Run([sys.executable, str(ALTERNATIVES / "batch_pandas.py"), "activity", str(scratch)], {}, figures)


def _answer_files(scratch: Path) -> list[str]:
    return [str(file) for file in (scratch / ANSWER).iterdir()]


def _figures(events: int, seconds: float, measured: Measurement, answer_bytes: int | None) -> Figures:
    usage = measured.usage()
    return {
        "seconds": seconds,
        "rows_per_second": events / seconds,
        "cpu_seconds": usage.cpu_seconds,
        "peak_mb": usage.peak_bytes / 1e6,
        "answer_mb": answer_bytes / 1e6 if answer_bytes is not None else None,
    }


def _growth_run(testbed: Testbed, events: int, seconds: dict[int, Figures], scratch: Path) -> Run:
    command = [sys.executable, "-m", "bench.batch_steps", *_GROWTH_STEPS, "--month", str(testbed.month(events))]

    def figures(measured: Measurement) -> Figures:
        seconds[events] = last_figures(measured.output)
        if testbed.scale.is_published and len(seconds) == len(testbed.scale.batch_sizes):
            draw_growth(seconds, GROWTH_CHART)
        return {**seconds[events], "peak_mb": measured.usage().peak_bytes / 1e6}

    return Run(command, {"LAMBDA_DATA_ROOT": str(scratch)}, figures)
