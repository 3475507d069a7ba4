"""The page shows the answers of the API, works by pointer and keyboard, and gives reasons."""

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import httpx2
import pytest
from browser import OpenPage, cells, focused
from playwright.sync_api import Page, expect

from lambda_spark.time_ranges import parse_instant

WEEK = {"from": "2019-11-20", "to": "2019-11-27"}
NONE = "–"


def fetch(url: str, **parameters: Any) -> dict[str, Any]:
    answer = httpx2.get(url, params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def shown(value: float | None, decimals: int = 0) -> str:
    """Return a number as the page shows it."""
    if value is None:
        return NONE
    rounded = Decimal(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    return f"{rounded:,}".replace("-", "−")


def signed(value: float | None, decimals: int = 0, unit: str = "") -> str:
    text = shown(value, decimals)
    return text if value is None else f"{'' if text[0] == '−' else '+'}{text}{unit}"


def trend_rows(answer: dict[str, Any]) -> list[list[str]]:
    """Return the trends of an answer as rows of the page's table."""
    return [
        [
            shown(trend["rank"]),
            trend["product_id"],
            trend["brand"] or NONE,
            (trend["category_code"] or NONE).split(".")[-1],
            "",
            shown(trend["event_count"]),
            shown(trend["user_count"]),
            "new" if trend["is_new"] else signed(trend["total_pct_increase"], unit=" %"),
            signed(trend["growth_pct"], unit=" %"),
            signed(trend["trend_score"], 2),
            trend["confidence"] or NONE,
        ]
        for trend in answer["trends"]
    ]


def label_counts(label: str) -> list[int]:
    """Return the counts in a sparkline's label for screen readers."""
    return [int(count.replace(",", "")) for count in re.findall(r": ([\d,]+) of", label)]


# --- trends


def test_trends_are_shown_as_the_api_returns_them(open_page: OpenPage, server: str) -> None:
    page, answer = open_page(server), fetch(f"{server}/v1/trends")
    assert cells(page, "#trends-table") == trend_rows(answer)
    assert len(answer["trends"]) > 10
    expect(page).to_have_title("Trends · lambda-spark")
    expect(page.locator("nav [aria-current=page]")).to_have_text("Trends")
    expect(page.locator(".lead")).to_contain_text("2019-11-24 to 2019-12-01 UTC, in buckets of one day")
    expect(page.locator(".lead")).to_contain_text(f"{shown(sum(answer['shop']))} events in the whole shop")
    expect(page.locator(".reach")).to_contain_text("Batch layer up to 2019-11-30 23:49:00 UTC")
    expect(page.locator(".reach")).to_contain_text("the speed layer has every message")
    expect(page.locator("#from")).to_have_value("2019-11-24")
    expect(page.locator("#notice")).to_be_empty()
    sparks = page.locator("#trends-table svg.spark[role=img]")
    labels = sparks.evaluate_all("sparks => sparks.map(spark => spark.ariaLabel)")
    assert [label_counts(label) for label in labels] == [trend["buckets"] for trend in answer["trends"]]
    box = sparks.first.bounding_box()
    page.mouse.move(box["x"] + 1, box["y"] + box["height"] / 2)
    first = answer["trends"][0]["buckets"][0]
    expect(page.locator("#tip")).to_have_text(f"24 Nov: {shown(first)} of {shown(answer['shop'][0])} in the shop")
    page.mouse.move(1, 1)
    expect(page.locator("#tip")).to_be_hidden()


def test_range_bucket_and_ranking_can_be_chosen(open_page: OpenPage, server: str) -> None:
    page = open_page(server)
    expect(page.locator("#from")).to_have_value("2019-11-24")
    page.fill("#from", WEEK["from"])
    page.fill("#to", WEEK["to"])
    page.select_option("#rank_by", "events")
    page.fill("#top", "5")
    page.click("#show")
    expect(page.locator(".lead")).to_contain_text("2019-11-20 to 2019-11-27 UTC")
    by_events = fetch(f"{server}/v1/trends", **WEEK, top=5, rank_by="events")
    assert cells(page, "#trends-table") == trend_rows(by_events)
    # Buckets finer than a day need times of day; the address contains all parameters.
    page.select_option("#bucket", "6 hours")
    page.fill("#from", "2019-11-20T12:00")
    page.press("#from", "Enter")
    expect(page.locator(".lead")).to_contain_text("2019-11-20 12:00 to 2019-11-27 00:00 UTC, in buckets of 6 hours")
    parameters = {"from": "2019-11-20T12:00", "to": WEEK["to"], "bucket": "6 hours", "top": 5, "rank_by": "events"}
    finer = trend_rows(fetch(f"{server}/v1/trends", **parameters))
    assert cells(page, "#trends-table") == finer
    page.reload()
    expect(page.locator(".lead")).to_contain_text("2019-11-20 12:00 to 2019-11-27 00:00 UTC, in buckets of 6 hours")
    assert cells(page, "#trends-table") == finer
    page.go_back()
    expect(page.locator(".lead")).to_contain_text("2019-11-20 to 2019-11-27 UTC, in buckets of one day")


@pytest.mark.parametrize(
    ("preset", "lead", "parameters"),
    [
        ("24h", "2019-12-01 UTC, in buckets of one hour", {"from": "2019-11-30", "to": "2019-12-01", "bucket": "hour"}),
        ("30d", "2019-11-01 to 2019-12-01 UTC", {"from": "2019-11-01", "to": "2019-12-01"}),
        ("all", "2019-11-01 to 2019-12-01 UTC", {"from": "2019-11-01", "to": "2019-12-01"}),
    ],
)
def test_common_ranges_are_one_click(
    open_page: OpenPage, server: str, preset: str, lead: str, parameters: dict[str, str]
) -> None:
    page = open_page(server)
    expect(page.locator("#range-default")).to_have_attribute("aria-current", "true")
    page.click(f"#range-{preset}")
    expect(page.locator(".lead")).to_contain_text(lead)
    expect(page.locator(f"#range-{preset}")).to_have_attribute("aria-current", "true")
    assert cells(page, "#trends-table") == trend_rows(fetch(f"{server}/v1/trends", **parameters))


def press_until(page: Page, key: str, selector: str) -> None:
    """Press a key until an element has the focus."""
    for _ in range(40):
        page.keyboard.press(key)
        if focused(page).and_(page.locator(selector)).count():
            return
    raise AssertionError(f"{key} does not lead to {selector}")


def test_the_page_works_by_keyboard(open_page: OpenPage, server: str) -> None:
    page, trends = open_page(server), fetch(f"{server}/v1/trends")["trends"]
    expect(page.locator("#trends-table")).to_be_visible()
    tip = page.locator("#tip")
    page.keyboard.press("Tab")
    expect(focused(page)).to_have_text("To the content")
    page.keyboard.press("Enter")
    expect(focused(page)).to_have_id("view")
    press_until(page, "Tab", "#trends-table a")
    expect(focused(page)).to_have_id(f"open-{trends[0]['product_id']}")
    expect(tip).to_contain_text(f"30 Nov: {shown(trends[0]['buckets'][-1])} of")
    page.keyboard.press("ArrowLeft")
    expect(tip).to_contain_text(f"29 Nov: {shown(trends[0]['buckets'][-2])} of")
    page.keyboard.press("Home")
    expect(tip).to_contain_text(f"24 Nov: {shown(trends[0]['buckets'][0])} of")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    second = f"open-{trends[1]['product_id']}"
    expect(focused(page)).to_have_id(second)
    expect(tip).to_contain_text(f"30 Nov: {shown(trends[1]['buckets'][-1])} of")
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.keyboard.press("Enter")
    expect(focused(page)).to_have_text(f"Product {trends[1]['product_id']}")
    page.keyboard.press("Escape")
    expect(focused(page)).to_have_id(second)


# --- a product


def test_a_product_has_a_chart_and_a_table_of_the_same_counts(open_page: OpenPage, server: str) -> None:
    trend = fetch(f"{server}/v1/trends", top=1)["trends"][0]
    answer = fetch(f"{server}/v1/products/{trend['product_id']}", **{"from": "2019-11-24", "to": "2019-12-01"})
    page = open_page(server)
    page.click(f"#trend-{trend['product_id']} .category")
    chart = page.locator("#product-chart")
    expect(chart.locator("svg .mark-rect path")).to_have_count(7)
    expect(chart.locator("svg .mark-text", has_text="shop")).to_be_visible()
    facts = page.locator("dl.facts")
    expect(facts).to_contain_text(answer["brand"])
    expect(facts).to_contain_text(shown(answer["last_price"], 2))
    names = ("view_count", "cart_count", "remove_count", "purchase_count", "event_count", "user_count")
    counts = zip(answer["buckets"], answer["shop"], strict=True)
    rows = [[*(bucket[name] for name in names), of_shop] for bucket, of_shop in counts]
    totals = [sum(row[place] for row in rows) for place in range(7)]
    expected = [[f"{day} Nov", *map(shown, row)] for day, row in zip(range(24, 31), rows, strict=True)]
    assert cells(page, "#product-table") == [*expected, ["All", *map(shown, totals[:5]), NONE, shown(totals[6])]]
    # On a bar, even if the shop's line crosses it.
    highest = max(range(7), key=lambda place: rows[place][4])
    chart.locator("svg .mark-rect path").nth(highest).hover()
    expect(page.locator("#tip")).to_have_text(f"{24 + highest} Nov: {shown(rows[highest][4])} events")
    page.click("#back")
    expect(focused(page)).to_have_id(f"open-{trend['product_id']}")


# --- a user


def user_with_recommendations(server: str) -> str:
    """Return a user with more than one recommendation."""
    for user in fetch(f"{server}/v1/users", limit=100)["users"]:
        if len(fetch(f"{server}/v1/users/{user['user_id']}/recommendations")["recommendations"]) > 1:
            return str(user["user_id"])
    raise AssertionError("no user has recommendations")


def test_users_can_be_chosen_from_a_list_or_by_id(open_page: OpenPage, server: str) -> None:
    page, answer = open_page(f"{server}#/users"), fetch(f"{server}/v1/users")
    expected = [
        [user["user_id"], f"{user['brand_count']} of 50", f"{parse_instant(user['last_seen_at']):%Y-%m-%d %H:%M}"]
        for user in answer["users"]
    ]
    assert [row[:3] for row in cells(page, "#users-table")] == expected
    first = answer["users"][0]["user_id"]
    page.click(f"#user-{first}")
    expect(focused(page)).to_have_text(f"User {first}")
    page.fill("#user-id", f" {answer['users'][1]['user_id']} ")
    page.press("#user-id", "Enter")
    expect(focused(page)).to_have_text(f"User {answer['users'][1]['user_id']}")


def test_recommendations_show_their_reason_and_link_to_the_brand(open_page: OpenPage, server: str) -> None:
    user = user_with_recommendations(server)
    page = open_page(f"{server}#/users/{user}")
    brands = fetch(f"{server}/v1/users/{user}/brands")["brands"]
    rows = fetch(f"{server}/v1/users/{user}/recommendations")["recommendations"]
    assert cells(page, "#recommendations-table") == [
        [shown(row["rank"]), f"{row['product_id']}\n{row['brand']}", row["reason"], f"no. {row['brand_position']}"]
        for row in rows
    ]
    found = [(row[1], row[4]) for row in cells(page, "#brands-table")]
    assert found == [(each["brand"], f"{parse_instant(each['last_seen_at']):%Y-%m-%d %H:%M}") for each in brands]
    matched = page.locator("#brands-table tr.matched").evaluate_all("rows => rows.map(row => row.dataset.brand)")
    assert set(matched) == {row["brand"] for row in rows}
    # From a recommendation to the brand it came from, and back.
    place, brand = rows[0]["brand_position"], rows[0]["brand"]
    page.get_by_role("button", name=f"Brand no. {place}, {brand}", exact=True).first.click()
    expect(focused(page)).to_have_id(f"brand-{place}")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(focused(page)).to_have_id("recommended-1")
    page.hover("#recommended-1 .reason")
    expect(page.locator(f"#brand-{place}")).to_have_class(re.compile("lit"))


def test_recommendations_as_of_any_moment_with_fallback(open_page: OpenPage, server: str) -> None:
    user, page = user_with_recommendations(server), open_page(f"{server}#/users")
    page.fill("#user-id", user)
    page.fill("#n", "30")
    page.fill("#as-of", "2019-11-28T12:00")
    page.check("#fallback")
    page.click("#show")
    expect(page.locator("#recommendations-table caption")).to_contain_text("as of 2019-11-28 12:00 UTC")
    parameters = {"n": 30, "as_of": "2019-11-28T12:00", "fallback": "true"}
    rows = fetch(f"{server}/v1/users/{user}/recommendations", **parameters)["recommendations"]
    found = [(row[1].split("\n")[0], row[2]) for row in cells(page, "#recommendations-table")]
    assert found == [(row["product_id"], row["reason"]) for row in rows]
    assert len(rows) == 30
    assert page.locator("#recommendations-table td.match", has_text="fallback").count() > 10


# --- the live view


def test_the_live_view_shows_the_counts_of_both_layers_and_the_rejects(open_page: OpenPage, server: str) -> None:
    page, status = open_page(f"{server}#/live"), fetch(f"{server}/v1/status")
    batch, speed = status["batch"], status["speed"]
    expected = {
        "topic-received": shown(status["topic"]["message_count"]),
        **{f"batch-{name}": shown(batch[name]) for name in ("received", "stored", "rejected")},
        "batch-behind": "0",
        "batch-upto": f"{parse_instant(batch['upto']):%Y-%m-%d %H:%M:%S}",
        "speed-received": shown(speed["received"]),
        "speed-behind": "0",
        "speed-lag": "0 s",
        "speed-upto": f"{parse_instant(speed['upto']):%Y-%m-%d %H:%M:%S}",
    }
    expect(page.locator("#topic-received")).to_have_text(expected["topic-received"])
    assert {name: page.inner_text(f"#{name}") for name in expected} == expected
    assert cells(page, "#rejects-table") == [["The message is not a JSON object.", "1"]]
    expect(page.locator("#rejects-table caption")).to_have_text("1 of 20,001 messages")
    expect(page.locator("#identity-result")).to_contain_text("Not checked yet: run make identity.")
    for layer in ("topic", "batch", "speed"):
        expect(page.locator(f"#rate-{layer}")).to_have_text("0")
    # The newest messages of the topic, one of them rejected.
    messages = page.locator("#messages li")
    expect(messages.first).to_be_visible()
    expect(page.locator("#messages li:not(.refused) .key").first).to_be_visible()
    pause = page.get_by_role("button", name="Hold still")
    pause.click()
    expect(page.get_by_role("button", name="Go on")).to_have_attribute("aria-pressed", "true")
