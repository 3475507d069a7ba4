"""The API's server as a separate process, as `make serve` starts it."""

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
    """The process, its address, and the lines it has printed so far."""

    process: subprocess.Popen[str]
    url: str = ""
    lines: list[str] = field(default_factory=list)

    def output(self) -> str:
        """Return everything it has printed so far."""
        return "".join(self.lines)

    def read_output(self) -> None:
        """Collect the output until it ends, and print it, so that a failing test shows it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            print(f"server: {line}", end="")


@contextmanager
def running_process(settings: Settings, port: str = "0", **environment: str) -> Iterator[ServerProcess]:
    """Start the server on a free port, with variables such as LAMBDA_SERVE__TOKEN; stop it as Ctrl-C does."""
    command, variables = [*_COMMAND, "--port", port], environment_of(settings, **environment)
    process = subprocess.Popen(
        command, env=variables, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    server = ServerProcess(process)
    reader = Thread(target=server.read_output)
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
    """Start the server as `running_process` does, and yield its address."""
    with running_process(settings, **environment) as server:
        yield server.url


def refused_start(settings: Settings, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start a server that refuses to start; return its output and exit code."""
    command, variables = [*_COMMAND, *options], environment_of(settings, **environment)
    return subprocess.run(
        command, env=variables, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def _address(server: ServerProcess) -> str:
    end = time.monotonic() + PATIENCE
    while server.process.poll() is None and time.monotonic() < end:
        if found := re.search(r"at (http://\S+);", server.output()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"The server has not started:\n{server.output()}")
