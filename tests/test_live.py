"""`make live`: all of the pipeline at once, to watch, and gone with Ctrl-C."""

import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from live_run import LiveRun, live_run

from lambda_spark.daemons import becomes_true
from lambda_spark.synthetic import write_month

EVENTS = 4_000


def status(run: LiveRun) -> dict[str, Any]:
    with urlopen(f"{run.url}/v1/status") as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def test_everything_flows_to_the_page_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    write_month(tmp_path / "events.csv", events=EVENTS)
    with live_run(tmp_path / "events.csv", tmp_path, speed=1_000_000) as run:

        def is_through() -> bool:
            now = status(run)
            counts = now["topic"]["message_count"], now["batch"]["stored"], now["speed"]["received"]
            return counts == (EVENTS, EVENTS, EVENTS) and now["speed"]["behind"] == 0

        assert becomes_true(is_through, 90), status(run)
        with urlopen(f"{run.url}/v1/trends") as answer:
            assert json.load(answer)["bucket_starts"]
        assert becomes_true(lambda: "All events are in the topic" in run.log.read_text(), 20)
        assert len(run.process_ids()) == 4  # the replay is done
        assert run.stop() == 130
        assert run.process_ids() == []
        assert "Traceback" not in run.log.read_text()
