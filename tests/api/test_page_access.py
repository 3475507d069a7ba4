"""Accessibility of the page: screen readers, keyboard, phones, dark mode, and reduced motion."""

import pytest
from accessible import assert_accessible
from browser import OpenPage
from playwright.sync_api import Page, expect

# Each view, and an element that is visible once its data has arrived.
VIEWS = {
    "trends": "#trends-table",
    "products/{product}?from=2019-11-24&to=2019-12-01": "#product-chart svg",
    "users": "#users-table",
    "users/{user}": "#recommendations-table",
    "live": "#messages li",
}

_OUTLINE = """() => {
  const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(document.activeElement);
  const box = document.activeElement.getBoundingClientRect();
  const isVisible = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
  return [document.activeElement.outerHTML.slice(0, 80), isVisible, outlineStyle, parseFloat(outlineWidth) >= 2];
}"""


def open_view(open_page: OpenPage, server: str, view: str, ids: dict[str, str]) -> Page:
    page = open_page(f"{server}#/{view.format(**ids)}")
    expect(page.locator(VIEWS[view]).first).to_be_visible()
    return page


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_accessible(open_page: OpenPage, server: str, ids: dict[str, str], view: str) -> None:
    assert_accessible(open_view(open_page, server, view, ids))


@pytest.mark.parametrize("view", ["trends", "users/{user}", "live"])
def test_the_focus_is_always_visible(open_page: OpenPage, server: str, ids: dict[str, str], view: str) -> None:
    page = open_view(open_page, server, view, ids)
    seen = []
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(_OUTLINE))
    assert len({name for name, *_ in seen}) > 8
    assert [each for each in seen if each[1:] != [True, "solid", True] and "<body" not in each[0]] == []


@pytest.mark.parametrize(("motion", "animation"), [("no-preference", "arrive"), ("reduce", "none")])
def test_reduced_motion_turns_animations_off(
    open_page: OpenPage, server: str, ids: dict[str, str], motion: str, animation: str
) -> None:
    page = open_view(open_page, server, "live", ids)
    page.emulate_media(reduced_motion=motion)
    expect(page.locator("#messages li").first).to_have_css("animation-name", animation)
