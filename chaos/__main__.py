"""`python -m chaos`: kill parts of a running pipeline, and compare every table with that of an undisturbed one."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from chaos.campaign import Round, campaign
from lambda_spark import cli
from lambda_spark.settings import PROJECT_ROOT
from lambda_spark.terminal import left, print_table, right

FOLDER = PROJECT_ROOT / "data" / "chaos"


def main() -> None:
    """Parse the options, run the campaign, print what came of it; the exit code is 1 where anything differs."""
    options = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    options.add_argument("--rounds", type=int, default=10, help="how many kills (default: 10)")
    options.add_argument("--seed", type=int, default=7, help="the same one chooses the same faults in the same order")
    options.add_argument("--events", type=int, default=20_000, help="how many events are replayed (default: 20,000)")
    args = options.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # else what was started would outlive the campaign
    FOLDER.mkdir(parents=True, exist_ok=True)
    console = Console()
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="campaign-") as folder:
        rounds = list(campaign(Path(folder), args.rounds, args.seed, args.events, console.print))
    print_rounds(console, rounds)
    sys.exit(any(each.differences for each in rounds))


def print_rounds(console: Console, rounds: list[Round]) -> None:
    """Print how often each fault struck and what came of it, then whatever differed."""
    faults = sorted({each.fault for each in rounds})
    of_fault = [[each for each in rounds if each.fault == fault] for fault in faults]
    columns = [
        left("fault", faults),
        right("rounds", [len(each) for each in of_fault]),
        right("hit", [sum(one.victim is not None for one in each) for each in of_fault]),
        right("all tables equal", [sum(not one.differences for one in each) for each in of_fault]),
    ]
    print_table(console, f"{len(rounds)} rounds", columns)
    for run, told in {each.run: each.differences for each in rounds}.items():
        for difference in told:
            console.print(f"run {run}: {difference}", style="red")


if __name__ == "__main__":
    cli.run(main)
