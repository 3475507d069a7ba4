"""The page is for everybody: screen readers, keyboards, phones, dark rooms, and who does not like things that move."""

import httpx2
import pytest
from accessible import assert_accessible
from browser import OpenPage
from playwright.sync_api import Page, expect

# Each view, and what is there once it has its figures.
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
  const isInSight = box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
  return [document.activeElement.outerHTML.slice(0, 80), isInSight, outlineStyle, parseFloat(outlineWidth) >= 2];
}"""


@pytest.fixture(scope="module")
def ids(server: str) -> dict[str, str]:
    """Return a product that trends and a user to whom something is recommended."""
    product = httpx2.get(f"{server}/v1/trends").json()["trends"][0]["product_id"]
    return {"product": product, "user": httpx2.get(f"{server}/v1/users").json()["users"][0]["user_id"]}


def opened(open_page: OpenPage, server: str, view: str, ids: dict[str, str]) -> Page:
    page = open_page(f"{server}#/{view.format(**ids)}")
    expect(page.locator(VIEWS[view]).first).to_be_visible()
    return page


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_keeps_people_from_using_a_view(
    open_page: OpenPage, server: str, ids: dict[str, str], view: str
) -> None:
    assert_accessible(opened(open_page, server, view, ids))


@pytest.mark.parametrize("view", ["trends", "users/{user}", "live"])
def test_the_focus_is_seen_wherever_it_is(open_page: OpenPage, server: str, ids: dict[str, str], view: str) -> None:
    page = opened(open_page, server, view, ids)
    seen = []
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(_OUTLINE))
    assert len({name for name, *_ in seen}) > 8
    assert [each for each in seen if each[1:] != [True, "solid", True] and "<body" not in each[0]] == []


@pytest.mark.parametrize(("motion", "animation"), [("no-preference", "arrive"), ("reduce", "none")])
def test_nothing_moves_for_those_who_asked_for_that(
    open_page: OpenPage, server: str, ids: dict[str, str], motion: str, animation: str
) -> None:
    page = opened(open_page, server, "live", ids)
    page.emulate_media(reduced_motion=motion)
    expect(page.locator("#messages li").first).to_have_css("animation-name", animation)
