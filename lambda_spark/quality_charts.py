"""The charts of the evaluations: the backtest of recommendations, and what each ranking takes for a trend."""

import altair as alt

from lambda_spark.chart_style import ACCENT, DARK, FAINT, INK, MUTED, PALE, PAPER, SIZE, SOFT, Spec, styled
from lambda_spark.quality import DEFAULT_ORDER, DEFAULT_RANKING, Backtest, PlantedShop
from lambda_spark.quality_words import KINDS, by_trends, by_value, ends, figure, name

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
