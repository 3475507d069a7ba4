"""One run as one HTML file that opens without a network."""

from importlib.resources import files
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import altair as alt
from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from lambda_spark.report import charts, quality, words
from lambda_spark.report.chart_style import Spec, vega_script
from lambda_spark.report.summary import RunSummary, rejected_by_reason, totals, verdicts

_MULTIPLES = 12
_MOST_BUCKET_COLUMNS = 8


def write_report(path: Path, summary: RunSummary) -> Path:
    """Write the page of a run and return its path. The same summary gives the same bytes."""
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
        quality=quality,
        fills=charts.FILLS,
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
    """Return the charts of the run by the id of their element on the page."""
    specs = {
        f"trend-{place}": charts.buckets_chart(row) for place, row in enumerate(summary.trends[:_MULTIPLES], start=1)
    }
    if any(row.total_pct_increase is not None for row in summary.trends):
        specs["scores-chart"] = charts.scores_chart(summary.trends)
    if summary.brands:
        recommended: dict[int, set[str]] = {}
        for row in summary.recommendations:
            recommended.setdefault(row.user_id, set()).add(row.brand)
        specs["brands-chart"] = charts.brands_chart(summary.brands, recommended)
    return specs


def _quality_charts(evaluations: quality.Quality) -> dict[str, Spec]:
    """Return the charts of the evaluations by the id of their element on the page."""
    backtests = {
        f"backtest-{number}-{measure}": charts.backtest_chart(backtest, measure)
        for number, backtest in enumerate(evaluations.recommendations.parts.values(), start=1)
        for measure in quality.MEASURES
    }
    shops = enumerate(evaluations.trends.parts.values(), start=1)
    return backtests | {f"kinds-{number}": charts.kinds_chart(shop) for number, shop in shops}


def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_source)
    )
    environment.filters["clean"] = words.clean
    return environment.get_template("report.html.j2")


def _source(name: str) -> str:
    return files("lambda_spark.report").joinpath(name).read_text(encoding="utf-8")
