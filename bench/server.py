"""`python -m bench.server --path PATH --users N --seconds S -- COMMAND`: the load that a web server takes.

Starts the server and lets wrk request the path, in which %d becomes the id of one known user after another. Prints a
line of JSON: requests a second, latencies, memory, and the seconds until the first answer.
"""

import argparse
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from bench.process import BenchError
from bench.results import last_figures
from bench.testbed import known_user_ids
from lambda_spark.local.processes import free_port, running_process

SERVE = ("-m", "lambda_spark.api")
# The limit of requests per client isn't measured.
UNLIMITED = {"LAMBDA_SERVE__REQUESTS_PER_SECOND": "1000000"}
CONNECTIONS = 8

_WAIT_SECONDS = 300
_POLL_SECONDS = 0.05
_SCRIPT = Path(__file__).with_name("load.lua")
_WARM_UP_SECONDS = 3


class Server(NamedTuple):
    """A server that answers, and the seconds from its start until it did."""

    pid: int
    port: int
    ready_seconds: float

    def client(self) -> HTTPConnection:
        """Return a connection to the server that stays open between requests."""
        return HTTPConnection("127.0.0.1", self.port, timeout=_WAIT_SECONDS)

    def memory(self) -> tuple[int, int]:
        """Return the resident memory in bytes: now, and the highest so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        now, most = (re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
        assert now
        assert most
        return int(now.group(1)) * 1024, int(most.group(1)) * 1024


@contextmanager
def running_server(command: Sequence[str], path: str) -> Iterator[Server]:
    """Run a server for the block, which begins when the path is answered. Raises BenchError if it never is."""
    port, begin = free_port(), time.monotonic()
    with running_process([*command, "--port", str(port)]) as process:
        server = Server(process.pid, port, 0.0)
        while not _answers(server, path):
            _check(process, begin)
            time.sleep(_POLL_SECONDS)
        yield server._replace(ready_seconds=time.monotonic() - begin)


def ask(client: HTTPConnection, path: str) -> tuple[int, bytes]:
    """Return the status and the body of the answer."""
    client.request("GET", path)
    response = client.getresponse()
    return response.status, response.read()


def find_wrk() -> str:
    """Return the path of wrk. Raises BenchError if it isn't installed."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise BenchError("wrk, which makes the load, is not on PATH: apt-get install wrk")
    return wrk


def load(server: Server, path: str, users: int, seconds: int) -> dict[str, float]:
    """Request the path for so many seconds on all connections; return the figures that wrk has printed.

    Raises BenchError if a request failed.
    """
    command = [find_wrk(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(_SCRIPT)]
    command += [f"http://127.0.0.1:{server.port}", "--", path, str(known_user_ids(users)[0]), str(users)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = last_figures(done.stdout)
    if figures["failed"]:
        raise BenchError(f"{figures['failed']:,} requests for {path} failed.")
    return figures


def _answers(server: Server, path: str) -> bool:
    try:
        return ask(server.client(), path)[0] == 200
    except ConnectionError:
        return False


def _check(process: "subprocess.Popen[bytes]", begin: float) -> None:
    if process.poll() is not None:
        raise BenchError(f"The server has ended with {process.returncode} before it answered.")
    if time.monotonic() - begin > _WAIT_SECONDS:
        raise BenchError(f"The server has not answered within {_WAIT_SECONDS} seconds.")


def main() -> None:
    """Parse the options, load the server, and print the figures."""
    options = argparse.ArgumentParser(prog="python -m bench.server", description=__doc__)
    options.add_argument("--path", required=True, help="the path to request")
    options.add_argument("--users", type=int, required=True, help="number of known users")
    options.add_argument("--seconds", type=int, required=True, help="seconds of load")
    options.add_argument("command", nargs="+", help="command of the server, called with --port")
    args = options.parse_args()
    first = args.path.replace("%d", str(known_user_ids(args.users)[0]))
    with running_server(args.command, first) as server:
        load(server, args.path, args.users, _WARM_UP_SECONDS)
        figures = load(server, args.path, args.users, args.seconds)
        memory, peak = server.memory()
    of_server = {"memory_mb": memory / 1e6, "server_peak_mb": peak / 1e6, "ready_s": server.ready_seconds}
    print(json.dumps({**figures, **of_server}))


if __name__ == "__main__":
    main()
