"""`python -m chaos`: kill parts of a running pipeline and compare its tables, then run the tests of other faults."""

import argparse
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from chaos.campaign import Round, campaign
from chaos.cases import Case, submit_cases
from lambda_spark import cli
from lambda_spark.report.terminal import left, print_table, right
from lambda_spark.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "data" / "chaos"


def main() -> None:
    """Parse the options, run the campaign and print the results; the exit code is 1 if anything differs."""
    options = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    options.add_argument("--rounds", type=int, default=10, help="how many kills (default: 10)")
    options.add_argument("--seed", type=int, default=7, help="the same one chooses the same faults in the same order")
    options.add_argument("--events", type=int, default=20_000, help="how many events are replayed (default: 20,000)")
    args = options.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else the started processes would outlive the campaign
    FOLDER.mkdir(parents=True, exist_ok=True)
    console = Console()
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="campaign-") as folder:
        rounds = list(campaign(Path(folder), args.rounds, args.seed, args.events, console.print))
        cases = submit_cases(PROJECT_ROOT / "tests", Path(folder))
    print_outcomes(console, rounds, cases)
    sys.exit(not cases or any(each.differences for each in rounds) or any(each.result == "failed" for each in cases))


def print_outcomes(console: Console, rounds: Sequence[Round], cases: Sequence[Case]) -> None:
    """Print how often each fault struck and was withstood, then all differences."""
    outcomes: defaultdict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for each in rounds:
        outcomes[f"kill -9: {each.fault}"].append((each.victim is not None, not each.differences))
    for case in cases:
        outcomes[case.fault].append((case.result != "skipped", case.result == "passed"))
    columns = [
        left("fault", list(outcomes), is_flexible=True),
        right("tried", [len(of_fault) for of_fault in outcomes.values()]),
        right("struck", [sum(has_struck for has_struck, _ in of_fault) for of_fault in outcomes.values()]),
        right("withstood", [sum(is_well for _, is_well in of_fault) for of_fault in outcomes.values()]),
    ]
    print_table(console, f"{len(rounds)} kills, {len(cases)} other cases", columns)
    for run, differing in {each.run: each.differences for each in rounds}.items():
        for difference in differing:
            console.print(f"run {run}: {difference}", style="red")
    for case in cases:
        if case.result != "passed":
            console.print(f"{case.result}: {case.test}", style="red" if case.result == "failed" else "yellow")


if __name__ == "__main__":
    cli.run(main)
