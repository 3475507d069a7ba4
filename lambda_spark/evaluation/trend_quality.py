"""How well rankings find planted trends: precision and recall of their best 20 and 100 products, week by week.

Compared are the rule of the settings, its variants, and other figures to rank by. Rankings are tuned on the weeks of
some seeds and reported on those of others.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark.evaluation.planted import (
    DAYS,
    KINDS,
    LARGE,
    SMALL,
    WEEK,
    Condition,
    Shop,
    count_visits,
    draw_week,
    product_kinds,
)
from lambda_spark.time_ranges import DAY
from lambda_spark.trends.score import TrendRule, trends

DEPTHS = (20, 100)
_DIGITS = 4
MEASURES = tuple(f"{measure}_at_{depth}" for depth in DEPTHS for measure in ("precision", "recall"))
_GROWTHS, _SHAPES, _DISPERSIONS = (1.5, 2.0, 3.0), ("sudden", "slow"), (0.0, 0.05, 0.1, 0.15)
_SPAM_AND_SALE = ((False, False), (True, False), (False, True), (True, True))

# A week of the large shop takes two seconds: tuning uses every fifth condition, which include all values.
_EVERY = 5

MOST_FOUND = 100

# Small enough to smooth nothing.
_NO_SMOOTHING = 1e-9
# From the counts of a week to the ids of the best products, the best first.
Ranking = Callable[[pa.Table], list[int]]


class PlannedWeek(NamedTuple):
    """A week to draw."""

    shop: Shop
    seed: int
    condition: Condition


def rankings(default: TrendRule) -> dict[str, Ranking]:
    """Return the rankings of the report by name; all but the raw ones keep the smoothing and support of `default`."""
    increase = replace(default, rank_by="total_pct_increase", count_by="events")
    return {
        "score, users": _by_rule(replace(default, rank_by="trend_score", count_by="users")),
        "score, events": _by_rule(replace(default, rank_by="trend_score", count_by="events")),
        "z, users": partial(_best_by, "z", replace(default, count_by="users")),
        "z, events": partial(_best_by, "z", replace(default, count_by="events")),
        "raw growth": _by_rule(
            replace(default, rank_by="trend_score", count_by="users", min_events=0, smoothing=_NO_SMOOTHING)
        ),
        "increase": _by_rule(increase),
        "raw increase": _by_rule(replace(increase, min_events=0)),
        "events": _by_rule(replace(default, rank_by="events", count_by="events")),
    }


def variants(default: TrendRule) -> dict[str, Ranking]:
    """Return the variants of `default` by name: each differs from it in one setting.

    The support follows the smoothing, so the smoothing is varied with a fixed support.
    """
    changes: dict[str, dict[str, Any]] = {
        "default": {},
        **{f"h:m = {h}:{DAYS - h}": {"recent_share": h / DAYS} for h in range(1, 5)},
        **{f"{least} events": {"min_events": least} for least in (0, 60, 90, 120)},
    }
    rules = {name: _by_rule(replace(default, **change)) for name, change in changes.items()}
    by_users = {f"{least} users": partial(_best_with_users, least, default) for least in (30, 60, 75, 90, 120)}
    smoothed = {
        f"a = {a}, 75 users": partial(_best_with_users, 75, replace(default, smoothing=float(a)))
        for a in (2, 5, 10, 15, 20, 40)
    }
    return rules | by_users | smoothed


def conditions() -> list[Condition]:
    """Return 24 conditions: all of growth, shape and dispersion; spam and sale alternate as in a Latin square."""
    planted = list(product(_GROWTHS, _SHAPES, _DISPERSIONS))
    turns = [_SPAM_AND_SALE[(place + place // len(_SPAM_AND_SALE)) % len(_SPAM_AND_SALE)] for place in range(24)]
    return [Condition(*parts, *turn) for parts, turn in zip(planted, turns, strict=True)]


def tuning_weeks() -> list[PlannedWeek]:
    """Return the weeks for tuning: seeds 1 to 3."""
    planned = {SMALL: conditions(), LARGE: conditions()[::_EVERY]}
    return [PlannedWeek(shop, seed, each) for shop, chosen in planned.items() for seed in (1, 2, 3) for each in chosen]


def report_weeks() -> list[PlannedWeek]:
    """Return the weeks of the report: seeds 11 to 15 of the small shop, 11 and 12 of the large one."""
    seeds = {SMALL: range(11, 16), LARGE: range(11, 13)}
    return [PlannedWeek(shop, seed, each) for shop in seeds for seed in seeds[shop] for each in conditions()]


def evaluate(
    weeks: Iterable[PlannedWeek], rankings: Mapping[str, Ranking], on_progress: Callable[[int, int], None]
) -> pd.DataFrame:
    """Rank the products of each week. One row per (week, ranking), as `score` returns it.

    `on_progress` is called with the number of weeks done and of all weeks.
    """
    planned, rows = list(weeks), []
    for done, week in enumerate(planned, start=1):
        drawn = draw_week(*week[::2], week.seed)
        activity, kinds = count_visits(drawn), product_kinds(drawn)
        about = {"shop": week.shop.name, "seed": week.seed, **week.condition._asdict()}
        rows += [{**about, "ranking": name, **score(rank(activity), kinds)} for name, rank in rankings.items()]
        on_progress(done, len(planned))
    return pd.DataFrame(rows)


def score(found: list[int], kinds: Mapping[int, str]) -> dict[str, Any]:
    """Return precision, recall and the counts found by kind, at each depth, and the counts planted by kind.

    `kinds` has the kind of each planted product; all other products are of kind none. Precision is the share of trends
    among the places of a depth: an empty place counts as a miss.
    """
    every = list(kinds.values())
    planted = {kind: every.count(kind) for kind in KINDS}
    figures: dict[str, Any] = {"planted": planted}
    for depth in DEPTHS:
        seen = [kinds.get(product_id, "none") for product_id in found[:depth]]
        counts = {kind: seen.count(kind) for kind in (*KINDS, "none")}
        figures[f"precision_at_{depth}"] = counts["trend"] / depth
        figures[f"recall_at_{depth}"] = counts["trend"] / planted["trend"]
        figures[f"found_at_{depth}"] = counts
    return figures


def with_spread(rows: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Average each measure. One row per value of `by`; beside each measure, `_spread` is half the range of the seeds.

    Each seed has the same conditions, so its mean is one draw of the figure.
    """
    measures = list(MEASURES)
    by_seed = rows.groupby([*by, "seed"], sort=False)[measures].mean()
    of_seeds = by_seed.groupby(by, sort=False)
    spread = (of_seeds.max() - of_seeds.min()) / 2
    return of_seeds.mean().join(spread.add_suffix("_spread")).reset_index()


def summarise(rows: pd.DataFrame) -> dict[str, Any]:
    """Average over the weeks: an object per shop with its weeks, seeds, planted products, and an object per ranking.

    A measure is its mean and spread, as in `with_spread`; planted and found products are mean counts by kind.
    """
    return {str(shop): _summarise_shop(of_shop) for shop, of_shop in rows.groupby("shop", sort=False)}


def _by_rule(rule: TrendRule) -> Ranking:
    return lambda activity: _ids(_ranked(activity, replace(rule, top=MOST_FOUND)))


def _best_by(column: str, rule: TrendRule, activity: pa.Table) -> list[int]:
    """Rank the products that have support by another figure of the rule."""
    ranked = _ranked(activity, replace(rule, top=len(activity)))
    return _ids(ranked.sort_by([(column, "descending"), ("rank", "ascending")]))


def _best_with_users(least: int, rule: TrendRule, activity: pa.Table) -> list[int]:
    """Rank by the rule, with support in distinct users instead of events."""
    ranked = _ranked(activity, replace(rule, min_events=0, top=len(activity)))
    return _ids(ranked.filter(pc.greater_equal(ranked["user_count"], least)))


def _ranked(activity: pa.Table, rule: TrendRule) -> pa.Table:
    return trends(activity, WEEK, DAY, "day", rule)


def _ids(ranked: pa.Table) -> list[int]:
    ids: list[int] = ranked["product_id"][:MOST_FOUND].to_pylist()
    return ids


def _summarise_shop(rows: pd.DataFrame) -> dict[str, Any]:
    rankings: dict[str, Any] = {}
    for line in with_spread(rows, ["ranking"]).to_dict("records"):
        of_ranking = rows[rows["ranking"] == line["ranking"]]
        measures = {name: [round(line[name], _DIGITS), round(line[f"{name}_spread"], _DIGITS)] for name in MEASURES}
        found = {name: _mean_counts(of_ranking[name]) for name in (f"found_at_{depth}" for depth in DEPTHS)}
        rankings[line["ranking"]] = measures | found
    return {
        "weeks": len(rows) // len(rankings),
        "seeds": [int(seed) for seed in sorted(rows["seed"].unique())],
        "planted": _mean_counts(rows["planted"]),
        "rankings": rankings,
    }


def _mean_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, float]:
    means = pd.DataFrame(list(counts)).mean()
    return {str(kind): round(mean, _DIGITS) for kind, mean in means.items()}
