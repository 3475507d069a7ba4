"""What keeps people from using a page: looked for in both colour schemes, on a desk and on a phone."""

from itertools import product
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

_WIDTHS = {1200: 900, 390: 844}

# What has a text of its own that is drawn smaller than 14 px.
_SMALL_TEXTS = """() => [...document.querySelectorAll("body *")]
  .filter((element) => element.checkVisibility() && parseFloat(getComputedStyle(element).fontSize) < 14)
  .filter((element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()))
  .map((element) => element.outerHTML.slice(0, 100))"""


def assert_accessible(page: Page) -> None:
    """Look at what the page shows now: nothing serious is found, nothing is cut off, no text is too small."""
    before = page.viewport_size
    page.evaluate(AXE_SCRIPT)
    for scheme, (width, height) in product(("light", "dark"), _WIDTHS.items()):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": height})
        assert _serious_findings(page) == [], (scheme, width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(_SMALL_TEXTS) == []
    page.set_viewport_size(before)


def _serious_findings(page: Page) -> list[Any]:
    found = page.evaluate("async () => (await axe.run({resultTypes: ['violations']})).violations")
    return [
        (finding["id"], [(node["target"], node["failureSummary"]) for node in finding["nodes"]])
        for finding in found
        if finding["impact"] in ("serious", "critical")
    ]
