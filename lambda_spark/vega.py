"""The chart libraries Vega, Vega-Lite and vega-embed (BSD 3-clause) as one script: no network is needed."""

from functools import cache

import vl_convert


@cache
def vega_script(version: str | None = None) -> str:
    """Return the script, with a version of Vega-Lite such as 6.1, or else with the newest there is."""
    version = version or vl_convert.get_vegalite_versions()[-1]
    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", version))
