"""The rankings that are compared: the rule of the settings, its variants, and what else one might rank by."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark.evaluation.planted_shops import DAYS
from lambda_spark.evaluation.planted_weeks import WEEK
from lambda_spark.time_ranges import DAY
from lambda_spark.trends import TrendRule, trends

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
