"""The charts of the page, as Vega-Lite specifications drawn by Altair.

Ids are text in the charts: JavaScript would round 19 digits.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from operator import itemgetter

import altair as alt

from lambda_spark.report import words
from lambda_spark.report.chart_style import ACCENT, DARK, FAINT, INK, MUTED, PALE, PAPER, SIZE, SOFT, Spec, styled
from lambda_spark.report.quality import (
    DEFAULT_ORDER,
    DEFAULT_RANKING,
    KINDS,
    Backtest,
    PlantedShop,
    by_trends,
    by_value,
    ends,
    figure,
    label,
)
from lambda_spark.schemas import Row

# A kind's colour, and the colour of the text on it.
FILLS = {
    "trend": (ACCENT, PAPER),
    "spam": (SOFT, PAPER),
    "decoy": (MUTED, DARK),
    "rhythm": (PALE, INK),
    "none": (FAINT, INK),
}

_MOST_SEPARATE_BARS = 40

# A narrower part of a bar has no room for its count on a phone.
_PLACES_OF_A_LABEL = 1.95

# The greatest mean width of a letter, in pixels.
_LETTER = 7.5


def buckets_chart(row: Row) -> Spec:
    """Draw a trend: a bar per bucket, the last one in the accent colour."""
    labels = words.bucket_labels(row)
    bars = [
        {"place": place, "bucket": label, "count": bucket.event_count}
        for place, (label, bucket) in enumerate(zip(labels, row.buckets, strict=True))
    ]
    is_last = f"datum.place === {len(bars) - 1}"
    gap = 0.2 if len(bars) <= _MOST_SEPARATE_BARS else 0
    chart = (
        alt.Chart(alt.Data(values=bars))
        .mark_bar()
        .encode(
            x=alt.X("place:O", axis=None, scale=alt.Scale(paddingInner=gap, paddingOuter=0)),
            y=alt.Y("count:Q", axis=None, scale=alt.Scale(nice=False)),
            color=alt.condition(is_last, alt.value(ACCENT), alt.value(MUTED)),
            tooltip=[alt.Tooltip("bucket:N"), alt.Tooltip("count:Q", format=",")],
        )
    )
    return styled(chart, height=72)


def scores_chart(rows: Sequence[Row]) -> Spec:
    """Draw the trend score against the total increase: a point per product that has both; the best five have names."""
    scale = alt.Scale(zero=False, nice=False, padding=16)
    base = alt.Chart(alt.Data(values=_score_points(rows))).encode(
        x=alt.X("increase:Q", title="total increase in %", axis=alt.Axis(format=",d", tickCount=5), scale=scale),
        y=alt.Y("score:Q", title="trend score", axis=alt.Axis(tickCount=5), scale=scale),
        tooltip=[
            alt.Tooltip("rank:Q"),
            alt.Tooltip("product:N"),
            alt.Tooltip("brand:N"),
            alt.Tooltip("increase:Q", title="increase in %", format="+,.0f"),
            alt.Tooltip("score:Q", format="+.2f"),
            alt.Tooltip("events:Q", format=","),
        ],
    )
    is_best = "datum.rank <= 5"
    marks = base.mark_point(filled=True, size=70, opacity=1).encode(
        color=alt.condition(is_best, alt.value(ACCENT), alt.value(MUTED))
    )
    names = base.transform_filter(is_best).mark_text(
        align=alt.ExprRef("datum.side"),
        dx=alt.ExprRef("datum.side === 'left' ? 9 : -9"),
        limit=140,
        fontSize=SIZE,
        color=INK,
    )
    return styled(alt.layer(marks, names.encode(text="name:N")), height=320)


def brands_chart(rows: Sequence[Row], recommended: Mapping[int, Collection[str]]) -> Spec:
    """Draw when each user last saw each brand: a line of dots per user, accented if the brand is recommended.

    `recommended` has the brands of each user's recommendations.
    """
    seen = [words.utc(brand.last_seen_at) for row in rows for brand in row.brands]
    is_long = len(seen) > 1 and max(seen) - min(seen) > timedelta(days=2)
    times = alt.Axis(tickCount=5, format="%-d %b" if is_long else "%-d %b %H:%M", labelOverlap="greedy")
    # The user's id is above the dots: beside them, 19 digits would take half the width of a phone.
    above = alt.Axis(labelAlign="left", labelPadding=0, labelOffset=-18, labelColor=INK, labelLimit=0)
    marks = (
        alt.Chart(alt.Data(values=_brand_dots(rows, recommended)))
        .mark_point(filled=True, size=80, opacity=1, stroke="var(--paper)", strokeWidth=1)
        .encode(
            x=alt.X("at:T", title=None, scale=alt.Scale(type="utc", nice=False, padding=8), axis=times),
            y=alt.Y("user:N", title=None, sort=[_user_label(row) for row in rows], axis=above),
            color=alt.condition("datum.recommended === 'yes'", alt.value(ACCENT), alt.value(MUTED)),
            tooltip=[
                alt.Tooltip("brand:N"),
                alt.Tooltip("seen:N", title="last seen"),
                alt.Tooltip("place:Q", title="brand no."),
                alt.Tooltip("recommended:N"),
            ],
        )
    )
    return styled(marks, height=52 * len(rows))


def backtest_chart(backtest: Backtest, measure: str) -> Spec:
    """Draw a measure: a dot per competitor with its 95 % interval, the largest on top, the default in the accent."""
    dots = _backtest_dots(backtest, measure)
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
    # Moved to the left as far as its dot is from the axis, in letters, so that no edge cuts a name.
    names = base.mark_text(align="left", dx=alt.ExprRef("-datum.shift"), yOffset=-9, fontSize=SIZE).encode(
        x="value:Q", text="label:N", color=ink
    )
    return styled(alt.layer(intervals, values, names), height=42 * len(dots))


def kinds_chart(shop: PlantedShop) -> Spec:
    """Draw a bar per ranking: the products in its first 20 places on average, by what was planted there."""
    parts = _kind_bars(shop)
    base = alt.Chart(alt.Data(values=parts)).encode(
        y=alt.Y("place:O", axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0)),
        tooltip=[alt.Tooltip("ranking:N"), alt.Tooltip("kind:N"), alt.Tooltip("count:Q", format=".1f")],
    )
    # The name is above its bar: beside it, it would take the width of a phone.
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


def _score_points(rows: Sequence[Row]) -> list[dict[str, object]]:
    increases = [row.total_pct_increase for row in rows if row.total_pct_increase is not None]
    middle = (min(increases, default=0) + max(increases, default=0)) / 2
    return [
        {
            "increase": row.total_pct_increase,
            "score": row.trend_score,
            "rank": row.rank,
            "product": str(row.product_id),
            "brand": words.clean(row.brand),
            "name": f"{row.rank} {words.clean(row.brand)}",
            "events": row.event_count,
            "side": "right" if row.total_pct_increase > middle else "left",
        }
        for row in rows
        if row.total_pct_increase is not None and row.trend_score is not None
    ]


def _brand_dots(rows: Sequence[Row], recommended: Mapping[int, Collection[str]]) -> list[dict[str, object]]:
    dots: list[dict[str, object]] = [
        {
            "user": _user_label(row),
            "brand": words.clean(brand.brand),
            "at": words.iso(brand.last_seen_at),
            "seen": f"{words.minute(brand.last_seen_at)} UTC",
            "place": place,
            "recommended": "yes" if brand.brand in recommended.get(row.user_id, ()) else "no",
        }
        for row in rows
        for place, brand in enumerate(row.brands, start=1)
    ]
    return sorted(dots, key=itemgetter("recommended"))  # those in colour are drawn last, on top


def _user_label(row: Row) -> str:
    return f"{row.user_id} · {words.amount(len(row.brands), 'brand')}"


def _backtest_dots(backtest: Backtest, measure: str) -> list[dict[str, object]]:
    found = by_value(backtest, measure)
    most = max(high for _, _, high in found.values()) or 1.0
    labels = {name: f"{label(name)} {figure(measure, value)}" for name, (value, _, _) in found.items()}
    return [
        {
            "place": place,
            "competitor": label(name),
            "value": value,
            "low": low,
            "high": high,
            "shown": figure(measure, value),
            "ends": ends(measure, (value, low, high)),
            "label": labels[name],
            "shift": _LETTER * len(labels[name]) * value / most,
            "is_default": name == DEFAULT_ORDER,
        }
        for place, (name, (value, low, high)) in enumerate(found.items())
    ]


def _kind_bars(shop: PlantedShop) -> list[dict[str, object]]:
    parts: list[dict[str, object]] = []
    for place, (name, ranking) in enumerate(by_trends(shop).items()):
        start = 0.0
        for kind, count in ranking.found_at_20:
            fill, ink = FILLS[kind]
            parts.append(
                {
                    "place": place,
                    "ranking": label(name),
                    "kind": KINDS[kind],
                    "count": count,
                    "start": start,
                    "middle": start + count / 2,
                    "end": start + count,
                    "fill": fill,
                    "ink": ink,
                    "is_first": kind == "trend",
                    "is_default": name == DEFAULT_RANKING,
                }
            )
            start += count
    return parts
