"""One run as one HTML file that opens without a network: everything it draws with is inside."""

from functools import cache
from importlib.resources import files
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import altair as alt
import vl_convert
from jinja2 import Environment, StrictUndefined, Template

from lambda_spark import words
from lambda_spark.charts import Spec, brands_chart, buckets_chart, scores_chart
from lambda_spark.summary import RunSummary, rejected_by_reason, totals, verdicts

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
        totals=totals(summary.counts),
        rejected=rejected_by_reason(summary.counts),
        verdicts=verdicts(summary.counts),
        multiples=multiples,
        labels=labels,
        shown_buckets=every if len(labels) <= _MOST_BUCKET_COLUMNS else (every[0], every[-1]),
        recommendations=[(user, list(rows)) for user, rows in groupby(summary.recommendations, attrgetter("user_id"))],
        brand_counts={row.user_id: len(row.brands) for row in summary.brands},
        charts=_charts(summary),
        vega=_vega(),
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


def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["clean"] = words.clean
    return environment.from_string(files("lambda_spark").joinpath("report.html.j2").read_text(encoding="utf-8"))


@cache
def _vega() -> str:
    """Return the chart libraries as one script, in the version that Altair writes specifications for."""
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version)
