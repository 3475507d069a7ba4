"""`make live` as a separate process on free ports, for its test and for those of the page."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from helpers import PATIENCE

from lambda_spark.local.processes import free_port, running_pid, wait_until
from lambda_spark.settings import PROJECT_ROOT, KafkaSettings, load_settings


class LiveRun(NamedTuple):
    """A run: the URL of its server, its tables and topic, its output, and its main process."""

    url: str
    root: Path
    kafka: KafkaSettings
    log: Path
    process: "subprocess.Popen[str]"

    def stop(self) -> int:
        """Stop the run as Ctrl-C does; return its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)

    def process_ids(self) -> list[int]:
        """Return the ids of the started processes that are still running."""
        return [pid for file in self.root.glob("*/*.pid") if (pid := running_pid(file))]


@contextmanager
def live_run(events: Path, data: Path, speed: float) -> Iterator[LiveRun]:
    """Run it over an event file; the block begins with the replay, and the run is stopped after it."""
    ports = [free_port(), free_port()]
    bootstrap, port = f"127.0.0.1:{ports[0]}", ports[1]
    surroundings = {
        **os.environ,
        "LAMBDA_DATA_ROOT": str(data),
        "LAMBDA_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "LAMBDA_SERVE__PORT": str(port),
    }
    command = [sys.executable, "-u", "-m", "lambda_spark.local.live", "--events", str(events), "--speed", str(speed)]
    log = data / "live.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=surroundings, cwd=PROJECT_ROOT, stdout=output, stderr=output, text=True)
    try:
        wait_until(lambda: "Replaying" in log.read_text() or process.poll() is not None, PATIENCE)
        assert "Replaying" in log.read_text(), log.read_text()
        kafka = load_settings(kafka={"bootstrap_servers": bootstrap, "topic": f"shop-events-live-{process.pid}"}).kafka
        yield LiveRun(f"http://127.0.0.1:{port}", data / "runs" / "live", kafka, log, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
