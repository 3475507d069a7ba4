"""Trends: precision and recall of each ranking on weeks with planted trends; tuned on some seeds, reported on others.

The weeks are drawn: a small and a large shop, growth of 1.5, 2 and 3 times, sudden and slow, over-dispersion from 0 to
0.15, with and without spam by single users and a sale of the whole shop. A figure is the mean over the weeks, and half
the range of the seeds' means.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pandas as pd

from lambda_spark import cli
from lambda_spark.console import make_console
from lambda_spark.evaluation.trend_quality import evaluate, report_weeks, summarise, tuning_weeks
from lambda_spark.evaluation.trend_rules import rankings, variants
from lambda_spark.evaluation.trend_tables import print_report, print_tuning
from lambda_spark.progress import progress_bar
from lambda_spark.trend_windows import trend_rule


def add_options(options: ArgumentParser) -> None:
    """Add --output, and what runs the evaluation."""
    options.add_argument("--output", type=Path, metavar="FILE", help="also write the report's figures, as JSON")
    options.set_defaults(run=run)


def run(args: Namespace) -> None:
    """Tune, report, and print both; with --output also write the report."""
    rule, console = trend_rule(cli.load(args).trends), make_console()
    with progress_bar("Tuning") as on_progress:
        tuned = evaluate(tuning_weeks(), variants(rule), on_progress)
    print_tuning(console, tuned)
    with progress_bar("Report") as on_progress:
        reported = evaluate(report_weeks(), rankings(rule), on_progress)
    print_report(console, reported)
    if args.output:
        write_json(args.output, reported)


def write_json(path: Path, reported: pd.DataFrame) -> None:
    """Write the summary of the reported weeks, an object per shop."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summarise(reported), indent=1) + "\n", encoding="utf-8")
