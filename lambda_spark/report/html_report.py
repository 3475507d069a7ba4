"""One run as one HTML file that opens without a network, with its charts as Vega-Lite specifications drawn by Altair.

Ids are text in the charts: JavaScript would round 19 digits.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from importlib.resources import files
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path

import altair as alt
from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from lambda_spark.report import quality_report, words
from lambda_spark.report.chart_style import (
    ACCENT,
    INK,
    MUTED,
    SIZE,
    Spec,
    styled,
    vega_script,
)
from lambda_spark.report.quality import Quality
from lambda_spark.report.quality_report import FILLS, backtest_chart, kinds_chart
from lambda_spark.report.summary import RunSummary, rejected_by_reason, totals, verdicts
from lambda_spark.schemas import Row

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


_MULTIPLES = 12
_MOST_BUCKET_COLUMNS = 8


def write_report(path: Path, summary: RunSummary) -> Path:
    """Write the page of a run and return its path. The same summary makes the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(summary), encoding="utf-8")
    return path


def render(summary: RunSummary) -> str:
    """Return the page of a run as HTML."""
    multiples = summary.trends[:_MULTIPLES]
    labels = words.bucket_labels(summary.trends[0]) if summary.trends else []
    every = range(len(labels))
    return _template().render(
        run=summary,
        words=words,
        quality=quality_report,
        fills=FILLS,
        totals=totals(summary.counts),
        rejected=rejected_by_reason(summary.counts),
        verdicts=verdicts(summary.counts),
        multiples=multiples,
        labels=labels,
        shown_buckets=every if len(labels) <= _MOST_BUCKET_COLUMNS else (every[0], every[-1]),
        recommendations=[(user, list(rows)) for user, rows in groupby(summary.recommendations, attrgetter("user_id"))],
        brand_counts={row.user_id: len(row.brands) for row in summary.brands},
        charts=_charts(summary) | _quality_charts(summary.quality),
        vega=vega_script(".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])),
    )


def _charts(summary: RunSummary) -> dict[str, Spec]:
    """Return each chart by the id of its place on the page."""
    charts = {f"trend-{place}": buckets_chart(row) for place, row in enumerate(summary.trends[:_MULTIPLES], start=1)}
    if any(row.total_pct_increase is not None for row in summary.trends):
        charts["scores-chart"] = scores_chart(summary.trends)
    if summary.brands:
        recommended: dict[int, set[str]] = {}
        for row in summary.recommendations:
            recommended.setdefault(row.user_id, set()).add(row.brand)
        charts["brands-chart"] = brands_chart(summary.brands, recommended)
    return charts


def _quality_charts(quality: Quality) -> dict[str, Spec]:
    backtests = {
        f"backtest-{number}-{measure}": backtest_chart(backtest, measure)
        for number, backtest in enumerate(quality.recommendations.parts.values(), start=1)
        for measure in quality_report.MEASURES
    }
    shops = enumerate(quality.trends.parts.values(), start=1)
    return backtests | {f"kinds-{number}": kinds_chart(shop) for number, shop in shops}


def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_source)
    )
    environment.filters["clean"] = words.clean
    return environment.get_template("report.html.j2")


def _source(name: str) -> str:
    return files("lambda_spark.report").joinpath(name).read_text(encoding="utf-8")
