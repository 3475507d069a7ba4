"""The charts of a run as Vega-Lite specifications, drawn with Altair.

Ids are text in them: JavaScript would round 19 digits.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from operator import itemgetter

import altair as alt

from lambda_spark import words
from lambda_spark.chart_style import ACCENT, INK, MUTED, SIZE, Spec, styled
from lambda_spark.words import Row

_MOST_SEPARATE_BARS = 40


def buckets_chart(row: Row) -> Spec:
    """Draw one trend: a bar for each bucket, the last one in the accent colour."""
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
    """Draw the trend score against the total increase, one point a product that has both; the best five are named."""
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
    """Draw when each user last saw each brand: a line of dots a user, those with a recommendation in the accent colour.

    `recommended` holds the brands of a user's recommendations.
    """
    seen = [words.utc(brand.last_seen_at) for row in rows for brand in row.brands]
    is_long = len(seen) > 1 and max(seen) - min(seen) > timedelta(days=2)
    times = alt.Axis(tickCount=5, format="%-d %b" if is_long else "%-d %b %H:%M", labelOverlap="greedy")
    # The user's id stands above the dots: beside them, 19 digits would take half the width of a phone.
    above = alt.Axis(labelAlign="left", labelPadding=0, labelOffset=-18, labelColor=INK, labelLimit=0)
    marks = (
        alt.Chart(alt.Data(values=_brand_dots(rows, recommended)))
        .mark_point(filled=True, size=80, opacity=1, stroke="var(--paper)", strokeWidth=1)
        .encode(
            x=alt.X("at:T", title=None, scale=alt.Scale(type="utc", nice=False, padding=8), axis=times),
            y=alt.Y("user:N", title=None, sort=[_user(row) for row in rows], axis=above),
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
            "user": _user(row),
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


def _user(row: Row) -> str:
    return f"{row.user_id} · {words.amount(len(row.brands), 'brand')}"
