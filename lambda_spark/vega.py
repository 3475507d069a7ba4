"""The chart libraries Vega, Vega-Lite and vega-embed (BSD 3-clause) as one script: no network is needed."""

from functools import cache

import altair as alt
import vl_convert


@cache
def vega_script() -> str:
    """Return the script, in the version that Altair writes specifications for."""
    version = ".".join(alt.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version))
