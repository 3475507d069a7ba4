"""The style of charts, whose colours are CSS variables of the page, and the chart library as one script.

The script holds Vega, Vega-Lite and vega-embed (BSD 3-clause), so that no network is needed.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import vl_convert

if TYPE_CHECKING:
    import altair as alt

Spec: TypeAlias = dict[str, Any]
INK, SOFT, FAINT, ACCENT = "var(--ink)", "var(--soft)", "var(--line)", "var(--accent)"
MUTED, PALE, PAPER, DARK = "var(--muted)", "var(--pale)", "var(--paper)", "var(--dark)"
SIZE = 14
_FONT = "system-ui, sans-serif"


def styled(chart: "alt.Chart | alt.LayerChart | alt.FacetChart", height: int) -> Spec:
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


@cache
def vega_script(version: str | None = None) -> str:
    """Return the script, with a version of Vega-Lite such as 6.1, or else with the newest there is."""
    version = version or vl_convert.get_vegalite_versions()[-1]
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version))
