"""How good the recommendations are: the rule beside its competitors, at several cuts of one shop or more."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from lambda_spark.days import days_held
from lambda_spark.errors import TimeRangeError
from lambda_spark.evaluation.cases import Case, read_case, read_trends
from lambda_spark.evaluation.competitors import rule_recommends, simple_competitors
from lambda_spark.evaluation.elsewhere import run_elsewhere
from lambda_spark.evaluation.splits import Cut, find_cuts
from lambda_spark.evaluation.tried import beyond_the_rule, tried
from lambda_spark.recommendations import RecommendationRule
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import TimeRange

# As plain as it was: every product that had an event counts as a trend, the largest percentage first.
_ORIGIN_TRENDS = {"rank_by": "total_pct_increase", "min_events": 1}

Scores = dict[str, Any]


def judge(
    spark: SparkSession,
    shops: Mapping[str, Settings],
    cuts: int,
    within: TimeRange | None = None,
    with_tried: bool = False,
) -> Scores:
    """Score every competitor over all cuts of the shops, by name, as score_lists.py says.

    Raises TimeRangeError where there is no cut, SetUpError where the other environment is missing.
    """
    with TemporaryDirectory() as folder:
        for name, settings in shops.items():
            days, bucket = days_held(settings.data_root), settings.trends.bucket
            for number, cut in enumerate(find_cuts(days, bucket, cuts, within)):
                write_cut(spark, settings, cut, Path(folder, f"{name}-{number:03}"), with_tried)
        if not any(Path(folder).iterdir()):
            raise TimeRangeError("At no cut does anybody come back: judge more --cuts, or other days.")
        scores: Scores = json.loads(run_elsewhere("score_lists.py", folder))
    return scores


def write_cut(spark: SparkSession, settings: Settings, cut: Cut, folder: Path, with_tried: bool = False) -> None:
    """Write the tables of a cut and what is recommended at it, as score_lists.py reads them.

    A cut at which nobody comes back, or before which nothing happened, is passed over.
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
            raise ValueError(f"Two competitors are called {name!r}: their lists would be judged as one.")
        lists[name] = recommended.append_column("competitor", pa.repeat(name, len(recommended)))
    pq.write_table(pa.table({"competitor": list(lists)}), folder / "competitors.parquet")
    pq.write_table(pa.concat_tables(lists.values(), promote_options="permissive"), folder / "recommended.parquet")


def _competitors(
    spark: SparkSession, settings: Settings, cut: Cut, case: Case, with_tried: bool
) -> Iterator[tuple[str, pa.Table]]:
    yield from simple_competitors(case).items()
    bucket = settings.trends.bucket
    trends = read_trends(spark, settings, cut, bucket)
    by_relevance = replace(
        RecommendationRule(**settings.recommendations.model_dump()), order="relevance", fallback=False
    )
    by_trend = replace(by_relevance, order="origin")
    plain = read_trends(spark, settings, cut, bucket, **_ORIGIN_TRENDS)
    yield "plain origin rule", rule_recommends(case, plain, by_trend)
    yield "order origin", rule_recommends(case, trends, by_trend)
    yield "order relevance", rule_recommends(case, trends, by_relevance)
    yield "relevance, with fallback", rule_recommends(case, trends, replace(by_relevance, fallback=True))
    yield from beyond_the_rule(case)
    if with_tried:
        yield from tried(case, trends, by_relevance)
        weights = settings.trends.weights.model_copy(update={"cart": 5.0, "purchase": 10.0})
        weighted = read_trends(spark, settings, cut, bucket, weights=weights)
        yield "relevance, a cart counts 5, a purchase 10", rule_recommends(case, weighted, by_relevance)
