"""What the page shows instead of data: what is wrong and what to do, until the problem is solved.

Each of these states is accessible too.
"""

import re
from collections.abc import Iterator

import pytest
from accessible import assert_accessible
from api_server import running_process, running_server
from browser import OpenPage, cells, focused
from helpers import NewSettings, event, send, shop_days
from playwright.sync_api import Locator, Page, expect
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.serving.identity_result import write_identity_result
from lambda_spark.serving.verification import Difference
from lambda_spark.settings import Settings

RULES = {"trends": {"min_events": 3, "smoothing": 1.0}}
TOKEN = "sixteen letters or more"
MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def state(page: Page, kind: str) -> Locator:
    return page.locator(f"[data-state={kind}]")


@pytest.fixture(scope="module")
def stalled(spark: SparkSession, new_run: NewSettings) -> Iterator[tuple[Settings, str]]:
    """Yield the settings of a run whose stream has stopped while a message waits, and the address of its server."""
    settings = new_run(**RULES)
    send(settings.kafka, shop_days([1, 2]))
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.speed_stream(spark, settings, available_now=True)
    send(settings.kafka, [event("2020-03-03 12:00:00", 1, 1)])
    with running_server(settings) as url:
        yield settings, url


# A stopped stream is reported after 15 seconds, during which the other tests run.
pytestmark = pytest.mark.usefixtures("browser", "stalled")


@pytest.fixture
def empty(new_run: NewSettings) -> Iterator[tuple[Settings, str]]:
    """Yield the settings of a run without any events, and the address of its server."""
    settings = new_run(**RULES)
    with running_server(settings) as url:
        yield settings, url


@pytest.mark.slow
def test_without_events_the_page_says_what_to_run_and_updates_by_itself(
    open_page: OpenPage, empty: tuple[Settings, str], spark: SparkSession
) -> None:
    settings, url = empty
    page, live = open_page(url), open_page(f"{url}#/live")
    expect(state(page, "not-ready")).to_contain_text("Nothing ingested yet")
    expect(state(page, "not-ready")).to_contain_text("make live starts everything while you watch")
    expect(live.locator("#live-state")).to_contain_text("Nothing ingested yet")
    expect(live.locator("#live-state")).to_contain_text("Run make live")
    assert_accessible(page)
    assert_accessible(live)
    # Text in events must not become markup.
    brand = '<img src=x onerror=alert(1)>"&amp;'
    send(settings.kafka, [*shop_days(range(1, 5)), event("2020-03-04 23:45:00", 1, 8, brand=brand)])
    pipelines.ingest_topic(spark, settings, available_now=True)
    expect(page.locator("#trends-table")).to_be_visible()
    expect(live.locator("#batch-received")).to_have_text(f"{len(shop_days(range(1, 5))) + 1}")
    expect(live.locator("#live-state")).to_be_empty()
    pipelines.speed_stream(spark, settings, available_now=True)
    live.goto(f"{url}#/users/1")
    expect(live.locator("#brand-1 th")).to_have_text(brand)
    expect(live.locator("main img")).to_have_count(0)


# --- requests that cannot be answered


def test_an_unknown_user_is_offered_the_top_trends(open_page: OpenPage, server: str) -> None:
    page = open_page(f"{server}#/users/5")
    expect(state(page, "unknown-user")).to_have_attribute("role", "alert")
    expect(state(page, "unknown-user")).to_contain_text("user 5")
    assert_accessible(page)
    page.get_by_role("link", name="Show the top trends instead").click()
    rows = cells(page, "#recommendations-table")
    assert [row[0] for row in rows] == [str(rank) for rank in range(1, 11)]
    assert {row[3] for row in rows} == {"fallback"}
    expect(page.locator("[data-state=nothing]")).to_contain_text("No brand yet")
    assert_accessible(page)


def test_a_range_without_data_names_the_range_of_the_data(open_page: OpenPage, server: str) -> None:
    page = open_page(f"{server}#/trends?from=2018-01-01&to=2018-01-08")
    expect(state(page, "bad-range")).to_contain_text("outside the data, which runs from 2019-11-01T00:07:52")
    expect(page.locator("#from")).to_have_value("2018-01-01")
    assert_accessible(page)
    page.get_by_role("link", name="Show the default range").click()
    expect(page.locator(".lead")).to_contain_text("2019-11-24 to 2019-12-01 UTC")
    page.select_option("#bucket", "hour")
    page.fill("#from", "2019-11-30T00:00")
    page.fill("#to", "2019-11-30T03:00")
    page.click("#show")
    expect(state(page, "nothing")).to_contain_text("No product trends in this range")
    assert_accessible(page)


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("products/5", "unknown-product", "No event of this product"),
        ("users/abc", "bad-parameter", "Write an id as its digits alone."),
        ("trends?top=1000", "bad-parameter", "Give at most 100."),
    ],
)
def test_a_mistake_in_the_address_is_shown_with_its_remedy(
    open_page: OpenPage, server: str, path: str, kind: str, text: str
) -> None:
    page = open_page(f"{server}#/{path}")
    expect(state(page, kind)).to_contain_text(text)
    expect(page.locator("h1")).to_be_visible()
    assert_accessible(page)


# --- token and rate limit


def test_the_token_is_asked_for_once_and_again_if_it_is_wrong(open_page: OpenPage, reference: Settings) -> None:
    with running_server(reference, LAMBDA_SERVE__TOKEN=TOKEN) as url:
        page, dialog = open_page(url), "#token-dialog[open]"
        expect(page.locator(dialog)).to_be_visible()
        expect(focused(page)).to_have_id("token")
        assert_accessible(page)
        page.keyboard.press("Escape")
        expect(state(page, "unauthorized")).to_contain_text("A token is needed")
        assert_accessible(page)
        page.get_by_role("button", name="Enter a token").click()
        page.fill("#token", "not the token")
        page.keyboard.press("Enter")
        expect(page.locator("#token")).to_have_value("")
        expect(page.locator(dialog)).to_be_visible()
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#trends-table")).to_be_visible()
        expect(page.locator("#pulse")).to_contain_text("newest event 2019-11-30")
        page.reload()
        expect(page.locator("#trends-table")).to_be_visible()
        expect(page.locator(dialog)).to_have_count(0)


def test_too_many_requests_are_shown_and_sent_again(open_page: OpenPage, reference: Settings) -> None:
    with running_server(reference, LAMBDA_SERVE__REQUESTS_PER_SECOND="1") as url:
        # The view of a user needs two requests, one more than the limit.
        page = open_page(f"{url}#/users/5")
        expect(state(page, "too-many-requests")).to_contain_text("The page asks again by itself.")
        assert_accessible(page)
        page.click("nav [data-view=trends]")
        expect(page.locator("#trends-table")).to_be_visible()
        expect(page.locator("#notice")).to_be_empty()


# --- the identity check


def test_the_result_of_the_identity_check_is_shown_and_updated(
    open_page: OpenPage, stalled: tuple[Settings, str]
) -> None:
    settings, url = stalled
    page = open_page(f"{url}#/live")
    result = page.locator("#identity-result")
    expect(result).to_contain_text("Not checked yet: run make identity.")
    equal = Difference("Brands of users", ("merged", "computed"), 1_234, ([], []))
    write_identity_result(settings.local_root, [equal])
    expect(result).to_contain_text(re.compile(rf"✓ It holds, checked {MOMENT} UTC"))
    assert cells(page, "#identity-table") == [["Brands of users", "1,234", "0"]]
    write_identity_result(settings.local_root, [equal, equal._replace(what="Counts", only=([{"user_id": 1}], []))])
    expect(result).to_contain_text("✗ It does not hold")
    assert cells(page, "#identity-table")[1] == ["Counts", "1,234", "1"]
    assert_accessible(page)


# --- server and stream


def test_a_stopped_server_is_shown_until_it_is_back(open_page: OpenPage, reference: Settings) -> None:
    with running_process(reference) as server:
        page = open_page(server.url)
        expect(page.locator("#trends-table")).to_be_visible()
        expect(page.locator("#pulse")).to_contain_text("newest event")
    expect(page.locator("#notice")).to_contain_text(re.compile(rf"does not answer since {MOMENT} UTC"))
    expect(page.locator("#pulse")).to_have_text("no live figures")
    expect(page.locator("#trends-table")).to_be_visible()
    page.click("nav [data-view=users]")
    expect(state(page, "server-gone")).to_contain_text("Start it with make serve.")
    assert_accessible(page)
    with running_process(reference, port=server.url.rpartition(":")[2]):
        expect(page.locator("#users-table")).to_be_visible()
        expect(page.locator("#notice")).to_be_empty()
        expect(page.locator("#pulse")).to_contain_text("newest event")


def test_a_stopped_stream_is_shown_on_every_view(open_page: OpenPage, stalled: tuple[Settings, str]) -> None:
    page = open_page(f"{stalled[1]}#/live")
    expect(page.locator("#notice")).to_contain_text(re.compile(rf"stands still since {MOMENT} UTC: messages wait"))
    expect(page.locator("#speed-behind")).to_have_text("1")
    expect(page.locator("#speed-lag")).to_contain_text(re.compile(r"^\d\d s|minute"))
    assert_accessible(page)
    page.click("nav [data-view=users]")
    expect(page.locator("#users-table")).to_be_visible()
    expect(page.locator("#notice")).to_contain_text("jobs/speed_stream.py")
