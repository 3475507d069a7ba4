"""A web server as a process of its own: how soon it answers, what memory it takes, and asking it."""

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from bench.probe import running
from bench.process import BenchError
from bench.stage import free_port

SERVE = ("-m", "lambda_spark.api")
# What one client may ask for in a second is not what is measured.
UNLIMITED = {"LAMBDA_SERVE__REQUESTS_PER_SECOND": "1000000"}

_PATIENCE_SECONDS = 300
_POLL_SECONDS = 0.05


class Server(NamedTuple):
    """A server that answers, and how long that took from its start."""

    pid: int
    port: int
    ready_seconds: float

    def client(self) -> HTTPConnection:
        """Return a connection to it, which stays open from question to question."""
        return HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_SECONDS)

    def memory(self) -> tuple[int, int]:
        """Return its resident memory in bytes: now, and at most so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        now, most = (re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
        assert now
        assert most
        return int(now.group(1)) * 1024, int(most.group(1)) * 1024


@contextmanager
def running_server(command: Sequence[str], path: str) -> Iterator[Server]:
    """Run a server inside the block, once it answers at the path. Raises BenchError where it does not."""
    port, begin = free_port(), time.monotonic()
    with running([*command, "--port", str(port)]) as process:
        server = Server(process.pid, port, 0.0)
        while not _answers(server, path):
            _check(process, begin)
            time.sleep(_POLL_SECONDS)
        yield server._replace(ready_seconds=time.monotonic() - begin)


def ask(client: HTTPConnection, path: str) -> tuple[int, bytes]:
    """Return the status and the content of an answer."""
    client.request("GET", path)
    response = client.getresponse()
    return response.status, response.read()


def _answers(server: Server, path: str) -> bool:
    try:
        return ask(server.client(), path)[0] == 200
    except ConnectionError:
        return False


def _check(process: "subprocess.Popen[bytes]", begin: float) -> None:
    if process.poll() is not None:
        raise BenchError(f"The server has ended with {process.returncode} before it answered.")
    if time.monotonic() - begin > _PATIENCE_SECONDS:
        raise BenchError(f"The server has not answered within {_PATIENCE_SECONDS} seconds.")
