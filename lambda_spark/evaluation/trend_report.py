"""Trends: precision and recall of each ranking on weeks with planted trends; tuned on some seeds, reported on others.

The weeks are drawn: a small and a large shop, growth of 1.5, 2 and 3 times, sudden and slow, over-dispersion from 0 to
0.15, with and without spam by single users and a sale of the whole shop. A figure is the mean over the weeks with half
the range of the seeds' means.
"""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pandas as pd
from rich.console import Console

from lambda_spark import cli
from lambda_spark.evaluation.trend_quality import (
    MEASURES,
    evaluate,
    rankings,
    report_weeks,
    summarise,
    tuning_weeks,
    variants,
    with_spread,
)
from lambda_spark.report.console import make_console
from lambda_spark.report.terminal import left, print_table, progress_bar, right
from lambda_spark.trends.score import trend_rule

# The text of each condition; without {} it is one that is present or absent.
_CONDITIONS = {
    "growth": "growth {}",
    "shape": "{}",
    "dispersion": "dispersion {}",
    "has_spam": "spam",
    "has_sale": "sale",
}

# The measures that compare conditions: the top of a list, and all that a person may page through.
_BY_CONDITION = ("precision_at_20", "recall_at_100")


def add_options(options: ArgumentParser) -> None:
    """Add --output, and `run` as the default of the same name."""
    options.add_argument("--output", type=Path, metavar="FILE", help="also write the report's figures, as JSON")
    options.set_defaults(run=run)


def run(args: Namespace) -> None:
    """Evaluate and print the variants and the report; with --output also write the report."""
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
    """Write the summary of the reported weeks as JSON, an object per shop."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summarise(reported), indent=1) + "\n", encoding="utf-8")


def print_tuning(console: Console, rows: pd.DataFrame) -> None:
    """Print the variants of the rule, a table per shop."""
    _print_overall(console, rows, "Tuning")


def print_report(console: Console, rows: pd.DataFrame) -> None:
    """Print the rankings of each shop, over all conditions and by condition."""
    _print_overall(console, rows, "Report")
    for shop, of_shop in rows.groupby("shop", sort=False):
        for measure in _BY_CONDITION:
            _print_by_condition(console, of_shop, measure, f"{_words(measure)}, {shop} shop")


def _print_overall(console: Console, rows: pd.DataFrame, title: str) -> None:
    for shop, of_shop in rows.groupby("shop", sort=False):
        averaged = with_spread(of_shop, ["ranking"])
        columns = [right(_words(measure), _cells(averaged, measure)) for measure in MEASURES]
        print_table(
            console, f"{title}: {shop} shop, {_extent(of_shop)}", [left("", list(averaged["ranking"])), *columns]
        )


def _print_by_condition(console: Console, rows: pd.DataFrame, measure: str, title: str) -> None:
    """Print a line per condition and a column per ranking."""
    parts = [
        (text.format(value) if "{" in text else f"{text}: {'yes' if value else 'no'}", of_value)
        for name, text in _CONDITIONS.items()
        for value, of_value in rows.groupby(name, sort=False)
    ]
    averaged = [with_spread(part, ["ranking"]) for _, part in parts]
    by_ranking = zip(*(_cells(each, measure) for each in averaged), strict=True)
    columns = [right(name, cells) for name, cells in zip(averaged[0]["ranking"], by_ranking, strict=True)]
    print_table(console, title, [left("", [text for text, _ in parts]), *columns])


def _cells(averaged: pd.DataFrame, measure: str) -> list[str]:
    """Return a mean with half the range of the seeds' means: 0.93 ±0.02."""
    return [f"{mean:.2f} ±{spread:.2f}" for mean, spread in averaged[[measure, f"{measure}_spread"]].to_numpy()]


def _words(measure: str) -> str:
    return measure.replace("_", " ")


def _extent(rows: pd.DataFrame) -> str:
    weeks = len(rows) // rows["ranking"].nunique()
    seeds = sorted(rows["seed"].unique())
    return f"{weeks} weeks, seeds {seeds[0]} to {seeds[-1]}, {rows['planted'].iloc[0]['trend']} planted trends in each"
