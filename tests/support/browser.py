"""Chromium for the tests of the page: one browser for all, a tab per test, which fails on any error in its console."""

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    "--disable-background-networking",
]

# The page asks again every few seconds, and the machine may be busy.
expect.set_options(timeout=120_000)

OpenPage = Callable[[str], Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no browser is on PATH: the page is tested in one of {', '.join(_NAMES)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Yield the context for tabs; fails if a page in one of them logs an error or a warning."""
    errors: list[str] = []

    def collect(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not _is_failed_request(message):
            errors.append(f"{message.text} ({message.location['url']})")

    with browser.new_context(viewport={"width": 1200, "height": 900}) as context:
        context.on("console", collect)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        yield context
    assert errors == []


@pytest.fixture
def open_page(context: BrowserContext) -> OpenPage:
    """Return the function that opens an address in a new tab."""

    def open_page(url: str) -> Page:
        page = context.new_page()
        page.goto(url)
        return page

    return open_page


def cells(page: Page, table: str) -> list[list[str]]:
    """Return the text of each cell in a table's body, once it has a row."""
    rows = page.locator(f"{table} tbody tr")
    expect(rows.first).to_be_visible()
    texts: list[list[str]] = rows.evaluate_all("rows => rows.map(row => [...row.cells].map(cell => cell.innerText))")
    return texts


def focused(page: Page) -> Locator:
    """Return the element that has the focus."""
    return page.locator("*:focus")


def _is_failed_request(message: ConsoleMessage) -> bool:
    """Return True for Chromium's report that a request to the API failed: tests check what the page shows then."""
    return message.text.startswith("Failed to load resource") and "/v1/" in message.location["url"]
