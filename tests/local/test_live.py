"""`make live`: the whole pipeline at once, to watch, until Ctrl-C. One run for all tests."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from browser import OpenPage
from helpers import event, send
from live_run import LiveRun, live_run
from playwright.sync_api import expect

from lambda_spark.local.processes import wait_until
from lambda_spark.local.synthetic import write_month

pytestmark = pytest.mark.slow

EVENTS = 4_000


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRun]:
    """Yield a run whose replay has ended, with all events in both layers."""
    folder = tmp_path_factory.mktemp("live")
    write_month(folder / "events.csv", events=EVENTS)
    with live_run(folder / "events.csv", folder, speed=1_000_000) as run:

        def is_complete() -> bool:
            now = status(run)
            counts = now["topic"]["message_count"], now["batch"]["stored"], now["speed"]["received"]
            return counts == (EVENTS, EVENTS, EVENTS) and now["speed"]["behind"] == 0

        assert wait_until(is_complete, 90), status(run)
        assert wait_until(lambda: "All events are in the topic" in run.log.read_text(), 20)
        yield run


def status(run: LiveRun) -> dict[str, Any]:
    with urlopen(f"{run.url}/v1/status") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_all_events_reach_the_answers(run: LiveRun) -> None:
    with urlopen(f"{run.url}/v1/trends") as answer:
        assert json.load(answer)["bucket_starts"]
    assert len(run.process_ids()) == 4  # the replay has ended


def test_a_new_event_updates_the_page(run: LiveRun, open_page: OpenPage) -> None:
    user, live = open_page(f"{run.url}#/users/7"), open_page(f"{run.url}#/live")
    expect(user.locator("[data-state=unknown-user]")).to_be_visible()
    expect(live.locator("#speed-received")).to_have_text(f"{EVENTS:,}")
    known = set(live.locator("#messages li").evaluate_all("items => items.map(item => item.id)"))
    send(run.kafka, [b"no event", event("2019-12-01 00:00:01", 7, 4711, brand="Neumarke")])
    # The new user has a view, with the new brand.
    expect(user.locator("#brand-1 th")).to_have_text("neumarke")
    expect(user.locator("#brand-1 .age")).to_have_text("just now")
    message = live.locator("#messages li", has_text="4711")
    expect(message.locator(".step").nth(0)).to_contain_text('"brand": "Neumarke"')
    expect(message.locator(".step").nth(1)).to_contain_text("view 4711 Neumarke, 9.50")
    expect(message.locator(".step").nth(2).locator("b")).to_have_text("neumarke")
    assert message.get_attribute("id") not in known
    refused = live.locator("#messages li.refused")
    expect(refused).to_contain_text("The message is not a JSON object.")
    expect(refused).to_contain_text("none: it is no event")
    for layer in ("topic", "speed"):
        expect(live.locator(f"#{layer}-received")).to_have_text(f"{EVENTS + 2:,}")
    expect(live.locator("#speed-behind")).to_have_text("0")
    expect(live.locator("#speed-upto")).to_have_text("2019-12-01 00:00:01")
    # The batch layer stores the event seconds later, and gives the reason of the reject.
    expect(live.locator("#batch-stored")).to_have_text(f"{EVENTS + 1:,}")
    expect(live.locator("#rejects-table")).to_contain_text("The message is not a JSON object.")
    live.get_by_role("link", name="7", exact=True).click()
    expect(live.locator("#brand-1 th")).to_have_text("neumarke")


def test_ctrl_c_stops_all_processes(run: LiveRun) -> None:
    assert run.stop() == 130
    assert run.process_ids() == []
    assert "Traceback" not in run.log.read_text()
