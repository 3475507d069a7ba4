"""The rankings that are compared: the rule of the settings, its variants, and what else one might rank by.

How well a ranking finds planted trends: precision and recall of its best 20 and 100, week by week.

Rankings are tuned on the weeks of some seeds and reported on those of others.
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

MOST_FOUND = 100

# So little that nothing is smoothed.
_NO_SMOOTHING = 1e-9
Ranking = Callable[[pa.Table], list[int]]
"""Takes the counts of a week, returns the ids of the best products, the best first."""


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
    """Return the variants of `default` that are tuned: each differs from it in one setting.

    The support follows the smoothing, so that the smoothing is varied with a support that stays.
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


def _by_rule(rule: TrendRule) -> Ranking:
    return lambda activity: _ids(_ranked(activity, replace(rule, top=MOST_FOUND)))


def _best_by(column: str, rule: TrendRule, activity: pa.Table) -> list[int]:
    """Rank what the rule supports by another of its figures."""
    ranked = _ranked(activity, replace(rule, top=len(activity)))
    return _ids(ranked.sort_by([(column, "descending"), ("rank", "ascending")]))


def _best_with_users(least: int, rule: TrendRule, activity: pa.Table) -> list[int]:
    """Rank by the rule, with support in distinct users in the place of events."""
    ranked = _ranked(activity, replace(rule, min_events=0, top=len(activity)))
    return _ids(ranked.filter(pc.greater_equal(ranked["user_count"], least)))


def _ranked(activity: pa.Table, rule: TrendRule) -> pa.Table:
    return trends(activity, WEEK, DAY, "day", rule)


def _ids(ranked: pa.Table) -> list[int]:
    ids: list[int] = ranked["product_id"][:MOST_FOUND].to_pylist()
    return ids


DEPTHS = (20, 100)
_DIGITS = 4
MEASURES = tuple(f"{measure}_at_{depth}" for depth in DEPTHS for measure in ("precision", "recall"))
_GROWTHS, _SHAPES, _DISPERSIONS = (1.5, 2.0, 3.0), ("sudden", "slow"), (0.0, 0.05, 0.1, 0.15)
_SPAM_AND_SALE = ((False, False), (True, False), (False, True), (True, True))

# A week of the large shop takes two seconds: it is tuned on some of the conditions, which have all values among them.
_EVERY = 5


class PlannedWeek(NamedTuple):
    """A week to draw."""

    shop: Shop
    seed: int
    condition: Condition


def conditions() -> list[Condition]:
    """Return 24 conditions: all of growth, shape and dispersion; spam and sale take turns, a Latin square."""
    planted = list(product(_GROWTHS, _SHAPES, _DISPERSIONS))
    turns = [_SPAM_AND_SALE[(place + place // len(_SPAM_AND_SALE)) % len(_SPAM_AND_SALE)] for place in range(24)]
    return [Condition(*parts, *turn) for parts, turn in zip(planted, turns, strict=True)]


def tuning_weeks() -> list[PlannedWeek]:
    """Return the weeks that settings are tuned on: seeds 1 to 3."""
    planned = {SMALL: conditions(), LARGE: conditions()[::_EVERY]}
    return [PlannedWeek(shop, seed, each) for shop, chosen in planned.items() for seed in (1, 2, 3) for each in chosen]


def report_weeks() -> list[PlannedWeek]:
    """Return the weeks that are reported: seeds 11 to 15 of the small shop, 11 and 12 of the large one."""
    seeds = {SMALL: range(11, 16), LARGE: range(11, 13)}
    return [PlannedWeek(shop, seed, each) for shop in seeds for seed in seeds[shop] for each in conditions()]


def evaluate(
    weeks: Iterable[PlannedWeek], rankings: Mapping[str, Ranking], on_progress: Callable[[int, int], None]
) -> pd.DataFrame:
    """Rank the products of each week. One row per (week, ranking), as `score` returns it.

    `on_progress` is told how many of all weeks are done.
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
    """Return precision, recall and what was found, at each depth; `kinds` says by product_id what was planted.

    Precision is the share of trends among the places asked for: a place that is left empty counts as a miss.
    What was planted and what was found are counts by kind; what is found where nothing was planted is of kind none.
    """
    of_all = list(kinds.values())
    planted = {kind: of_all.count(kind) for kind in KINDS}
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
    """Average over the weeks: an object per shop, with its weeks, seeds, what was planted, and an object per ranking.

    A measure is a mean and its spread, as `with_spread` has them; what was planted and found are means by kind.
    """
    return {str(shop): _summarise_shop(of_shop) for shop, of_shop in rows.groupby("shop", sort=False)}


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
