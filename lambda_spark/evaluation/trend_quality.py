"""How well a ranking finds planted trends: precision and recall of its best 20 and 100, week by week.

Rankings are tuned on the weeks of some seeds and reported on those of others.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Any, NamedTuple

import pandas as pd

from lambda_spark.evaluation.planted_shops import KINDS, LARGE, SMALL, Condition, Shop
from lambda_spark.evaluation.planted_weeks import count_visits, draw_week, product_kinds
from lambda_spark.evaluation.trend_rules import Ranking

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
