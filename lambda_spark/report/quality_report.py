"""What the evaluations say, in the words a person reads.

The charts of the evaluations: the backtest of recommendations, and what each ranking takes for a trend.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import altair as alt

from lambda_spark.report import words
from lambda_spark.report.chart_style import ACCENT, DARK, FAINT, INK, MUTED, PALE, PAPER, SIZE, SOFT, Spec, styled
from lambda_spark.report.quality import DEFAULT_ORDER, DEFAULT_RANKING, Backtest, Interval, Lift, PlantedShop, Ranking

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


# A kind's colour, and that of the text on it.
FILLS = {
    "trend": (ACCENT, PAPER),
    "spam": (SOFT, PAPER),
    "decoy": (MUTED, DARK),
    "rhythm": (PALE, INK),
    "none": (FAINT, INK),
}

# A narrower part of a bar has no room for its count on a phone.
_PLACES_OF_A_LABEL = 1.95

# The width of a letter in pixels, at most, on average.
_LETTER = 7.5


def backtest_chart(backtest: Backtest, measure: str) -> Spec:
    """Draw a measure: a dot a competitor with its 95 % interval, the largest on top, the default in the accent."""
    dots = _dots(backtest, measure)
    axis = alt.Axis(format=".0%" if measure == "hit_rate" else ".2f", tickCount=5)
    domain = alt.Scale(domain=[0, max(figures[2] for figures in by_value(backtest, measure).values())], nice=False)
    colour, ink = (alt.condition("datum.is_default", alt.value(ACCENT), alt.value(other)) for other in (MUTED, INK))
    base = alt.Chart(alt.Data(values=dots)).encode(
        y=alt.Y("place:O", axis=None),
        tooltip=[
            alt.Tooltip("competitor:N"),
            alt.Tooltip("shown:N", title="value"),
            alt.Tooltip("ends:N", title="95 % interval"),
        ],
    )
    intervals = base.mark_rule(strokeWidth=2, yOffset=8).encode(
        x=alt.X("low:Q", title=None, axis=axis, scale=domain), x2="high:Q", color=colour
    )
    values = base.mark_point(filled=True, size=80, opacity=1, yOffset=8).encode(x="value:Q", color=colour)
    # As far to the left of its dot as the dot is from the axis, so that no edge cuts a name.
    names = base.mark_text(align="left", dx=alt.ExprRef("-datum.shift"), yOffset=-9, fontSize=SIZE).encode(
        x="value:Q", text="label:N", color=ink
    )
    return styled(alt.layer(intervals, values, names), height=42 * len(dots))


def kinds_chart(shop: PlantedShop) -> Spec:
    """Draw a bar a ranking: what its first 20 places hold on average, by the kind of what had been planted there."""
    parts = _parts(shop)
    base = alt.Chart(alt.Data(values=parts)).encode(
        y=alt.Y("place:O", axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0)),
        tooltip=[alt.Tooltip("ranking:N"), alt.Tooltip("kind:N"), alt.Tooltip("count:Q", format=".1f")],
    )
    # The name stands above its bar, as the users of the chart of brands do: beside it, it would take a phone's width.
    bars = base.mark_bar(height=22, yOffset=9, stroke=PAPER, strokeWidth=1).encode(
        x=alt.X("start:Q", axis=None, scale=alt.Scale(domain=[0, 20], nice=False)),
        x2="end:Q",
        color=alt.Color("fill:N", scale=None),
    )
    counts = (
        base.transform_filter(f"datum.count >= {_PLACES_OF_A_LABEL}")
        .mark_text(yOffset=9, fontSize=SIZE)
        .encode(x="middle:Q", text=alt.Text("count:Q", format=".1f"), color=alt.Color("ink:N", scale=None))
    )
    names = (
        base.transform_filter("datum.is_first")
        .mark_text(align="left", yOffset=-13, fontSize=SIZE)
        .encode(
            x=alt.datum(0),
            text="ranking:N",
            color=alt.condition("datum.is_default", alt.value(ACCENT), alt.value(INK)),
        )
    )
    return styled(alt.layer(bars, counts, names), height=52 * len(shop.rankings))


def _dots(backtest: Backtest, measure: str) -> list[dict[str, object]]:
    found = by_value(backtest, measure)
    most = max(high for _, _, high in found.values()) or 1.0
    labels = {who: f"{name(who)} {figure(measure, value)}" for who, (value, _, _) in found.items()}
    return [
        {
            "place": place,
            "competitor": name(who),
            "value": value,
            "low": low,
            "high": high,
            "shown": figure(measure, value),
            "ends": ends(measure, (value, low, high)),
            "label": labels[who],
            "shift": _LETTER * len(labels[who]) * value / most,
            "is_default": who == DEFAULT_ORDER,
        }
        for place, (who, (value, low, high)) in enumerate(found.items())
    ]


def _parts(shop: PlantedShop) -> list[dict[str, object]]:
    parts: list[dict[str, object]] = []
    for place, (who, ranking) in enumerate(by_trends(shop).items()):
        start = 0.0
        for kind, count in ranking.found_at_20:
            fill, ink = FILLS[kind]
            parts.append(
                {
                    "place": place,
                    "ranking": name(who),
                    "kind": KINDS[kind],
                    "count": count,
                    "start": start,
                    "middle": start + count / 2,
                    "end": start + count,
                    "fill": fill,
                    "ink": ink,
                    "is_first": kind == "trend",
                    "is_default": who == DEFAULT_RANKING,
                }
            )
            start += count
    return parts
