"""What the evaluations say, in the words a person reads."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from lambda_spark import words
from lambda_spark.quality import DEFAULT_ORDER, DEFAULT_RANKING, Backtest, Interval, Lift, PlantedShop, Ranking

MEASURES: Mapping[str, str] = MappingProxyType({"hit_rate": "HR@20", "ndcg": "NDCG@20"})
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "trend": "planted trend",
        "spam": "spam of one user",
        "decoy": "decoy of one day",
        "rhythm": "weekly rhythm",
        "none": "nothing planted",
    }
)
"""What may have been planted where a ranking finds something: a trend, a trap, or nothing."""

_BLANK = "\u00a0"  # at which no line ends
_ORIGIN_ORDER = "order origin"


def name(competitor: str) -> str:
    """Return the name of a competitor or a ranking, with a word where it is the default."""
    return words.clean(competitor) + (" (default)" if competitor in (DEFAULT_ORDER, DEFAULT_RANKING) else "")


def figure(measure: str, value: float) -> str:
    """Return a value of a measure: a hit rate in %, NDCG with three decimals."""
    return f"{100 * value:.1f}{_BLANK}%" if measure == "hit_rate" else f"{value:.3f}"


def ends(measure: str, figures: Interval) -> str:
    """Return the ends of an interval: 56.7 to 58.0 %."""
    low, high = (figure(measure, end) for end in figures[1:])
    return f"{low.removesuffix(f'{_BLANK}%')} to {high}"


def by_value(backtest: Backtest, measure: str) -> dict[str, Interval]:
    """Return the figures of each competitor, the largest value first."""
    found = {who: getattr(figures, measure) for who, figures in backtest.competitors.items()}
    return dict(sorted(found.items(), key=lambda item: (-item[1][0], item[0])))


def by_trends(shop: PlantedShop) -> dict[str, Ranking]:
    """Return the rankings, the one that finds the most planted trends first."""
    return dict(sorted(shop.rankings.items(), key=lambda item: -item[1].found_at_20.trend))


def verdict(backtest: Backtest, measure: str) -> str:
    """Say who wins, the default order or the best plain list, and by how much; then what others reach."""
    values = {who: figure(measure, figures[0]) for who, figures in by_value(backtest, measure).items()}
    lift: Lift = getattr(backtest.lift[DEFAULT_ORDER], measure)
    default, best, over = values[DEFAULT_ORDER], values[lift.over], words.clean(lift.over)
    value, *both = (100 * abs(times - 1) for times in lift.times)
    by = f"{value:.0f}{_BLANK}% {{}} (95{_BLANK}% interval: {min(both):.0f} to {max(both):.0f}{_BLANK}%)"
    if lift.times[1] > 1:
        won = f"the default order wins: it has {default}, {over} {best}. That is {by.format('more')}."
    elif lift.times[2] < 1:
        won = f"{over} wins: it has {best}, the default order {default}. That is {by.format('less')}."
    else:
        won = f"{over} ({best}) and the default order ({default}) cannot be told apart."
    return " ".join([f"By {MEASURES[measure]}, {won}", *_others(values, lift.over)])


def _others(values: Mapping[str, str], over: str) -> list[str]:
    """Name what the origin's order has, and the best of all where it is neither of the two that are compared."""
    best = next(iter(values))
    origin = [f"The origin's order has {values[_ORIGIN_ORDER]}."] if _ORIGIN_ORDER in values else []
    if best in (DEFAULT_ORDER, over):
        return origin
    return [*origin, f"“{words.clean(best)}” has the most, {values[best]}."]


class KindCounts(NamedTuple):
    """A row of planted against found, as means of a week: found in the first 20 places, and in the next 80.

    None is a count that nobody asks for.
    """

    label: str
    planted: float | None
    found_at_20: float
    found_next: float
    missed: float | None


def confusion(shop: PlantedShop) -> list[KindCounts]:
    """Return a row for each kind: how many are planted, and where the default ranking found them."""
    found = shop.rankings[DEFAULT_RANKING]
    rows = []
    for kind, label in KINDS.items():
        planted = getattr(shop.planted, kind, None)
        first, all_found = getattr(found.found_at_20, kind), getattr(found.found_at_100, kind)
        missed = None if planted is None else planted - all_found
        rows.append(KindCounts(label, planted, first, all_found - first, missed))
    return rows


def mean(count: float | None) -> str:
    """Return a mean count with one decimal."""
    return words.NOTHING if count is None else f"{count:,.1f}"


def found_and_missed(shop: PlantedShop) -> str:
    """Say how many of the planted trends the default ranking finds, and what else it takes for one."""
    found, planted = shop.rankings[DEFAULT_RANKING], shop.planted.trend
    first, both = found.found_at_20.trend, found.found_at_100.trend
    return (
        f"{first:.1f} of the first 20 places of the default ranking hold a planted trend, {20 - first:.1f} do not. "
        f"Of the {planted:.0f} planted trends {planted - first:.1f} are missed there, and {planted - both:.1f} by the "
        "first 100 places."
    )


def planted_here(shown: Sequence[int], planted: frozenset[int]) -> str:
    """Say how many of the trends that are shown were planted in the generated events."""
    return (
        f"This run's events are generated, with {len(planted)} planted trends in the last three days of the month: "
        f"{len(planted.intersection(shown))} of the {len(shown)} trends above are planted ones; their charts say so."
    )
