"""The style of the page's charts. Colours are CSS variables of the page, a chart is as wide as its place there."""

from typing import Any, TypeAlias

import altair as alt

Spec: TypeAlias = dict[str, Any]

INK, SOFT, FAINT, ACCENT = "var(--ink)", "var(--soft)", "var(--line)", "var(--accent)"
MUTED, PALE, PAPER, DARK = "var(--muted)", "var(--pale)", "var(--paper)", "var(--dark)"
SIZE = 14
_FONT = "system-ui, sans-serif"


def styled(chart: alt.Chart | alt.LayerChart | alt.FacetChart, height: int) -> Spec:
    """Return the specification of a chart in the style of the page, so many pixels high."""
    axis = {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "gridColor": FAINT,
        "domain": False,
        "ticks": False,
        "labelFontSize": SIZE,
        "titleFontSize": SIZE,
        "titleFontWeight": "normal",
        "labelPadding": 8,
        "titlePadding": 10,
        "labelSeparation": 12,
    }
    sized = chart.properties(width="container", height=height, background="transparent", padding=0)
    spec: Spec = sized.configure(font=_FONT, axis=axis).configure_view(stroke=None).to_dict()
    return spec
