"""The server as a process: how it ends, its event streams, and what runs inside."""

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
from helpers import PATIENCE, environment_of

from lambda_spark.settings import PROJECT_ROOT, Settings
from lambda_spark.time_ranges import parse_instant

REQUESTS_IN_PROCESS = """
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
def test_it_ends_within_seconds_despite_an_open_event_stream(reference: Settings, number: signal.Signals) -> None:
    with running_process(reference) as server:
        with httpx2.stream("GET", f"{server.url}/v1/live", timeout=PATIENCE) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: status"
            begin = time.monotonic()
            server.process.send_signal(number)
            # This would raise if the stream was cut off.
            assert list(lines)[-1] == ""
        server.process.wait(PATIENCE)
        assert time.monotonic() - begin < 60
        assert server.process.returncode == (130 if number == signal.SIGINT else -signal.SIGTERM)
    assert "Traceback" not in server.output()
    assert "error" not in server.output().lower()


def listeners(url: str) -> float:
    return float(re.search(r"(?m)^lambda_spark_live_listeners (\S+)", httpx2.get(f"{url}/metrics").text)[1])


def test_an_event_stream_has_a_status_every_second_and_is_closed_with_its_listener(server: str) -> None:
    received: dict[str, list[Any]] = {"status": [], "sample": []}
    with httpx2.stream("GET", f"{server}/v1/live", timeout=PATIENCE) as answer:
        lines = answer.iter_lines()
        while len(received["status"]) < 3 or not received["sample"]:
            if (line := next(lines)).startswith("event: "):
                received[line.removeprefix("event: ")].append(json.loads(next(lines).removeprefix("data: ")))
        assert listeners(server) == 1
    moments = [parse_instant(status["now"]) for status in received["status"]]
    assert (moments[2] - moments[0]).total_seconds() > 1.5
    assert all(status["now"].endswith("Z") for status in received["status"])
    messages = received["sample"][0]["messages"]
    events = [message["event"] for message in messages if message["event"]]
    assert events
    assert all(isinstance(event["user_id"], str) and event["event_time"].endswith("Z") for event in events)
    assert all(message["brands"] or not message["event"]["brand"] for message in messages if message["event"])
    end = time.monotonic() + PATIENCE
    while listeners(server):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_new_listener_gets_no_outdated_status(server: str) -> None:
    for _ in range(2):
        begin = datetime.now(timezone.utc)
        with httpx2.stream("GET", f"{server}/v1/live", timeout=PATIENCE) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "event: status"
            found = json.loads(next(lines).removeprefix("data: "))
        assert parse_instant(found["now"]) > begin - timedelta(seconds=1)
        time.sleep(3)


def is_alive(process: psutil.Process) -> bool:
    """Return True if a process has not ended; a zombie has no command line."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.mark.usefixtures("server")
def test_the_process_has_neither_spark_nor_java(reference: Settings) -> None:
    found = subprocess.run(
        [sys.executable, "-c", REQUESTS_IN_PROCESS],
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


def test_the_chart_library_is_served_with_its_licence(server: str) -> None:
    script = httpx2.get(f"{server}/page/vega.js").text
    named = re.match(r"/\*! Vega.*: (\S+) \*/\n", script)
    assert named
    assert "vegaEmbed" in script
    assert "Redistributions in binary form" in httpx2.get(f"{server}{named[1]}").text
