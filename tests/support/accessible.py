"""Accessibility checks of a page: in the light scheme on a desktop, and in the dark one on a phone."""

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

# One size per scheme: axe takes half a second of a core.
_SCREENS = {"light": (1200, 900), "dark": (390, 844)}

# Elements that directly contain text smaller than 14 px.
_SMALL_TEXTS = """() => [...document.querySelectorAll("body *")]
  .filter((element) => element.checkVisibility() && parseFloat(getComputedStyle(element).fontSize) < 14)
  .filter((element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()))
  .map((element) => element.outerHTML.slice(0, 100))"""


def assert_accessible(page: Page) -> None:
    """Check the present state of the page: axe finds nothing serious, nothing overflows, no text is too small."""
    before = page.viewport_size
    page.evaluate(AXE_SCRIPT)
    for scheme, (width, height) in _SCREENS.items():
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": height})
        assert _serious_findings(page) == [], scheme
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
