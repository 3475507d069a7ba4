"""The batch layer on a full month, step by step, beside DuckDB, Polars and pandas on the same Parquet files."""

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from deltalake import DeltaTable

from bench.batch_answers import check, digest
from bench.case import Case, Column, Figures, Run, Table
from bench.freshness import tree_bytes
from bench.process import Measured
from bench.results import last_figures
from bench.stage import ORIGIN_ORDER, Stage
from bench.throughput import ALTERNATIVES
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY, RECOMMENDATIONS, TRENDS, USER_BRANDS

ANSWER = "answer"
PACKAGES = ("pyspark", "delta-spark", "deltalake", "duckdb", "polars", "pandas", "pyarrow")
COLUMNS = (
    Column("seconds", "s", "{:,.2f}", has_ratio=True),
    Column("rows_per_second", "events/s"),
    Column("cpu_seconds", "processor, s", "{:,.1f}"),
    Column("peak_mb", "peak memory, MB"),
    Column("answer_mb", "answer, MB", "{:,.1f}"),
)
_NOT_DELTA = "Parquet, no Delta, not resumable"


class Step(NamedTuple):
    """A step of the batch layer: what it is called, the tables it reads and the one it writes, if any."""

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


def batch_table(step: str, stage: Stage) -> Table:
    """A step, by lambda-spark and by the others; answers that differ are no result."""
    module = ["bench.batch_steps", step, "--month", str(stage.month(stage.scale.batch_events))]
    cases = [Case("lambda-spark", partial(_own_run, stage, step, module), "Delta, can be run again")]
    if step == "window":
        cases.append(Case("lambda-spark, no Spark", partial(_own_run, stage, step, ["bench.batch_window"])))
    is_delta = "Delta by delta-rs, no rejects kept" if step == "files" else _NOT_DELTA
    cases += [Case(name, partial(_other_run, stage, step, name), is_delta) for name in ("DuckDB", "Polars")]
    if step == "activity":
        share = f"from the files of the first {stage.scale.pandas_days} days, in memory"
        cases.append(Case("pandas, the origin's way", partial(_pandas_run, stage), share, 1))
    cases = [case._replace(repetitions=case.repetitions or stage.scale.long_repetitions) for case in cases]
    data = f"{stage.scale.batch_events:,} events of a month"
    return Table(f"batch-{step}", STEPS[step].title, cases, COLUMNS, "what it keeps", PACKAGES, data)


def _own_run(stage: Stage, step: str, module: list[str], scratch: Path) -> Run:
    base, writes = stage.batch_root(stage.scale.batch_events), STEPS[step].writes
    for table in STEPS[step].reads:
        (scratch / table).symlink_to(base / table)

    def figures(measured: Measured) -> Figures:
        if writes:
            check(step, digest(step, parquet_files(base / writes)), digest(step, parquet_files(scratch / writes)))
        answer_bytes = tree_bytes(scratch / writes) if writes else None
        return _figures(stage.scale.batch_events, last_figures(measured.output)[step], measured, answer_bytes)

    return Run([sys.executable, "-m", *module], {"LAMBDA_DATA_ROOT": str(scratch), **ORIGIN_ORDER}, figures)


def _other_run(stage: Stage, step: str, name: str, scratch: Path) -> Run:
    base = stage.batch_root(stage.scale.batch_events)
    inputs = {table: parquet_files(base / table) for table in STEPS[step].reads}
    inputs["month"] = sorted(map(str, stage.month(stage.scale.batch_events).iterdir()))
    (scratch / "inputs.json").write_text(json.dumps(inputs))
    is_last = f"window_to = (SELECT max(window_to) FROM read_parquet({parquet_files(base / TRENDS.name)}))"

    def figures(measured: Measured) -> Figures:
        answer = scratch / (EVENTS.name if step == "files" else ANSWER)
        found = digest(step, parquet_files(answer) if step == "files" else _answer_files(scratch))
        right = parquet_files(base / (STEPS[step].writes or TRENDS.name))
        check(step, digest(step, right, is_last if step == "window" else "true"), found)
        seconds = last_figures(measured.output)["seconds"]
        return _figures(stage.scale.batch_events, seconds, measured, tree_bytes(answer))

    script = ALTERNATIVES / f"batch_{name.lower()}.py"
    return Run([sys.executable, str(script), step, str(scratch)], {}, figures)


def _pandas_run(stage: Stage, scratch: Path) -> Run:
    days = sorted(stage.month(stage.scale.batch_events).iterdir())[: stage.scale.pandas_days]
    (scratch / "inputs.json").write_text(json.dumps({"month": list(map(str, days))}))
    activity = parquet_files(stage.batch_root(stage.scale.batch_events) / PRODUCT_ACTIVITY.name)

    def figures(measured: Measured) -> Figures:
        told = last_figures(measured.output)
        first_days = f"event_date < DATE '2019-11-01' + {len(days)}"
        check("activity", digest("activity", activity, first_days), digest("activity", _answer_files(scratch)))
        return _figures(int(told["rows"]), told["seconds"], measured, tree_bytes(scratch / ANSWER))

    return Run([sys.executable, str(ALTERNATIVES / "batch_pandas.py"), "activity", str(scratch)], {}, figures)


def _answer_files(scratch: Path) -> list[str]:
    return [str(file) for file in (scratch / ANSWER).iterdir()]


def parquet_files(table: Path) -> list[str]:
    """Return the files of a table's newest version."""
    return sorted(DeltaTable(table).file_uris())


def _figures(events: int, seconds: float, measured: Measured, answer_bytes: int | None) -> Figures:
    usage = measured.usage()
    return {
        "seconds": seconds,
        "rows_per_second": events / seconds,
        "cpu_seconds": usage.cpu_seconds,
        "peak_mb": usage.peak_bytes / 1e6,
        "answer_mb": answer_bytes / 1e6 if answer_bytes is not None else None,
    }
