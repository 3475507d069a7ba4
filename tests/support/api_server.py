"""The server as a process of its own, as `make serve` starts it."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread

from helpers import PATIENCE, environment_of

from lambda_spark.settings import PROJECT_ROOT, Settings

_COMMAND = [sys.executable, "-m", "lambda_spark.api"]


@dataclass
class ServerProcess:
    """The process, where it serves, and what it has printed so far."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def output(self) -> str:
        return "".join(self.lines)

    def read(self) -> None:
        """Pass on what it prints, so that a test that fails shows it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            print(f"server: {line}", end="")


@contextmanager
def running_process(settings: Settings, port: str = "0", **environment: str) -> Iterator[ServerProcess]:
    """Start the server, on a free port, with variables such as LAMBDA_SERVE__TOKEN; end it as Ctrl-C does."""
    command, surroundings = [*_COMMAND, "--port", port], environment_of(settings, **environment)
    process = subprocess.Popen(
        command, env=surroundings, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    server = ServerProcess(process)
    reader = Thread(target=server.read)
    reader.start()
    try:
        server.url = _address(server)
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            reader.join()


@contextmanager
def running_server(settings: Settings, **environment: str) -> Iterator[str]:
    """Yield the address of such a server."""
    with running_process(settings, **environment) as server:
        yield server.url


def refused_start(settings: Settings, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start a server that is to end at once; return what it printed, and its exit code."""
    command, surroundings = [*_COMMAND, *options], environment_of(settings, **environment)
    return subprocess.run(
        command, env=surroundings, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def _address(server: ServerProcess) -> str:
    end = time.monotonic() + PATIENCE
    while server.process.poll() is None and time.monotonic() < end:
        if found := re.search(r"at (http://\S+);", server.output()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"The server has not started:\n{server.output()}")
