"""`python -m bench`: measure, keep the results in data/bench, and write the tables of docs/benchmarks.md."""

import argparse
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from bench import batch, environments, results
from bench.case import Case, Run, Table
from bench.freshness import freshness_table
from bench.growth import growth_table
from bench.incremental import incremental_table
from bench.layout import layout_table
from bench.process import run_measured
from bench.serving import fresh_table, serving_table
from bench.sweep import small_sweep_table, sweep_table
from bench.testbed import FOLDER, FULL, QUICK, Scale, Testbed, open_testbed
from bench.throughput import ingest_table, replay_table, speed_table
from lambda_spark import cli
from lambda_spark.errors import LambdaSparkError
from lambda_spark.settings import PROJECT_ROOT

DOCUMENT = PROJECT_ROOT / "docs" / "benchmarks.md"
TABLES: dict[str, Callable[[Testbed], Table]] = {
    "speed": speed_table,
    "replay": replay_table,
    "ingest": ingest_table,
    "freshness": freshness_table,
    "growth": growth_table,
    "sweep": sweep_table,
    "small-sweep": small_sweep_table,
    **{f"batch-{step}": partial(batch.batch_table, step) for step in batch.STEPS},
    "batch-growth": batch.batch_growth_table,
    "incremental": incremental_table,
    "layout": layout_table,
    "serving": serving_table,
    "serving-freshness": fresh_table,
}
# Curves over sizes, settings and layouts, which are meaningless on small data.
CURVES = ("growth", "sweep", "small-sweep", "batch-growth", "layout")


def main() -> None:
    """Parse the options and measure."""
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument("--quick", action="store_true", help="small data, one run each; the document stays as it is")
    options.add_argument("--only", nargs="+", choices=TABLES, default=[], help="only these tables")
    options.add_argument("--case", default="", help="only the cases whose name contains this")
    args = options.parse_args()
    scale = QUICK if args.quick else FULL
    session = datetime.now(timezone.utc).isoformat(timespec="seconds")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the broker would outlive the bench
    with open_testbed(scale) as testbed:
        for key in args.only or [key for key in TABLES if scale.is_published or key not in CURVES]:
            table = TABLES[key](testbed)
            table = table._replace(cases=[case for case in table.cases if args.case in case.name])
            measure(table, scale, session)
            publish(table, scale)


def measure(table: Table, scale: Scale, session: str) -> None:
    """Run the cases of the table in turn, each as often as its repetitions, and keep the figures.

    A case with several runs gets a warm-up first. A case that fails is left out from then on.
    """
    about = {
        "machine": environments.machine(),
        "versions": environments.versions(table.packages),
        "commit": environments.commit(),
    }
    failed = set()
    for number in range(scale.repetitions + 1):
        for case in table.cases:
            repetitions = case.repetitions or scale.repetitions
            if number > repetitions or (number == 0 and repetitions == 1) or case.name in failed:
                continue
            print(f"{table.key}: {case.name}, {f'run {number} of {repetitions}' if number else 'warm-up'}", flush=True)
            try:
                record = {"session": session, "table": table.key, "case": case.name, **about, **run_once(case)}
            except LambdaSparkError as error:
                print(f"Left out: {error}", file=sys.stderr, flush=True)
                failed.add(case.name)
                continue
            if number:
                results.keep(results_file(scale), {**record, "data": table.data})


def run_once(case: Case) -> dict[str, object]:
    """Run a case in an empty folder; return its command, as a person would type it, and its figures."""
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="run-") as folder:
        run = case.prepare(Path(folder))
        measured = run_measured(run.command, run.environment, Path(folder))
        return {"command": shown(run, folder), "figures": dict(run.figures(measured))}


def publish(table: Table, scale: Scale) -> None:
    """Print the table; for a published scale, also write it into the document."""
    records = results.read_session(results_file(scale), table.key)
    if not records:
        return
    text = results.as_markdown(table, records)
    print(f"\n{table.title}\n\n{text}\n", flush=True)
    if scale.is_published:
        DOCUMENT.write_text(results.replace_section(DOCUMENT.read_text(), table.key, text))


def results_file(scale: Scale) -> Path:
    """Return the file of the results of that scale."""
    return FOLDER / f"results-{scale.name}.jsonl"


def shown(run: Run, folder: str) -> str:
    """Return the command without parts that differ between machines and runs."""
    words = shlex.join(run.command).replace(folder, "FOLDER").replace(f"{PROJECT_ROOT}/", "")
    return words.replace(sys.executable, "python")


if __name__ == "__main__":
    cli.run(main)
