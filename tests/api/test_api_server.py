"""The server as a process: what it is made of, and how it ends."""

import json
import re
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx2
import psutil
import pytest
from api_server import running_process
from helpers import environment_of

from lambda_spark.settings import PROJECT_ROOT, Settings
from lambda_spark.time_ranges import parse_instant

ASK_IN_PROCESS = """
import sys
from fastapi.testclient import TestClient
from lambda_spark.api.app import create_app
from lambda_spark.settings import load_settings

client = TestClient(create_app(load_settings()), base_url="http://localhost")
user = client.get("/v1/users").json()["users"][0]["user_id"]
for path in ("/v1/trends?bucket=hour", f"/v1/users/{user}/recommendations", "/v1/status", "/metrics"):
    assert client.get(path).status_code == 200, path
print({name.partition(".")[0] for name in sys.modules} & {"pyspark", "py4j", "delta"})
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_seconds_though_somebody_listens(reference: Settings, number: signal.Signals) -> None:
    with running_process(reference) as server:
        with httpx2.stream("GET", f"{server.url}/v1/live", timeout=10) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: status"
            begin = time.monotonic()
            server.process.send_signal(number)
            # Cut off in the middle, this would raise.
            assert list(lines)[-1] == ""
        server.process.wait(5)
        assert time.monotonic() - begin < 4
        assert server.process.returncode == (130 if number == signal.SIGINT else -signal.SIGTERM)
    assert "Traceback" not in server.output()
    assert "error" not in server.output().lower()


def listeners(url: str) -> float:
    return float(re.search(r"(?m)^lambda_spark_live_listeners (\S+)", httpx2.get(f"{url}/metrics").text)[1])


def test_who_listens_is_told_the_state_every_second_and_forgotten_once_gone(server: str) -> None:
    told: dict[str, list[Any]] = {"status": [], "sample": []}
    with httpx2.stream("GET", f"{server}/v1/live", timeout=10) as answer:
        lines = answer.iter_lines()
        while len(told["status"]) < 3 or not told["sample"]:
            if (line := next(lines)).startswith("event: "):
                told[line.removeprefix("event: ")].append(json.loads(next(lines).removeprefix("data: ")))
        assert listeners(server) == 1
    moments = [parse_instant(status["now"]) for status in told["status"]]
    assert 1.5 < (moments[2] - moments[0]).total_seconds() < 4
    assert all(status["now"].endswith("Z") for status in told["status"])
    messages = told["sample"][0]["messages"]
    events = [message["event"] for message in messages if message["event"]]
    assert events
    assert all(isinstance(event["user_id"], str) and event["event_time"].endswith("Z") for event in events)
    assert all(message["brands"] or not message["event"]["brand"] for message in messages if message["event"])
    end = time.monotonic() + 5
    while listeners(server):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_who_comes_later_is_not_told_what_was_when_somebody_listened_last(server: str) -> None:
    for _ in range(2):
        begin = datetime.now(timezone.utc)
        with httpx2.stream("GET", f"{server}/v1/live", timeout=10) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: status"
            told = json.loads(next(lines).removeprefix("data: "))
        assert parse_instant(told["now"]) > begin - timedelta(seconds=1)
        time.sleep(3)


def is_alive(process: psutil.Process) -> bool:
    """Say so of a process that has not ended: one that nobody has waited for yet has no command line."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.usefixtures("server")
def test_neither_spark_nor_java_is_in_the_process(reference: Settings) -> None:
    found = subprocess.run(
        [sys.executable, "-c", ASK_IN_PROCESS],
        env=environment_of(reference),
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.strip() == "set()", found.stdout + found.stderr
    children = psutil.Process().children()
    servers = [each for each in children if is_alive(each) and "lambda_spark.api" in each.cmdline()]
    assert servers
    assert [each.children(recursive=True) for each in servers] == [[]] * len(servers)


def test_the_chart_library_is_served_from_here_with_its_licence(server: str) -> None:
    script = httpx2.get(f"{server}/page/vega.js").text
    named = re.match(r"/\*! Vega.*: (\S+) \*/\n", script)
    assert named
    assert "vegaEmbed" in script
    assert "Redistributions in binary form" in httpx2.get(f"{server}{named[1]}").text
