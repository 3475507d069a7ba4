"""`python -m bench.load --path PATH --users N --seconds S -- COMMAND`: what load a web server takes.

Starts the server and has wrk ask for the path, in which %d becomes the id of one known user after another. Prints a
line of JSON: requests a second, latencies, memory, and how long the server took to answer at all.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

from bench.process import BenchError
from bench.results import last_figures
from bench.server import Server, running_server
from bench.stage import known_user_ids

CONNECTIONS = 8
_SCRIPT = Path(__file__).with_name("load.lua")
_WARM_UP_SECONDS = 3


def main() -> None:
    """Parse the options, load the server, and print what it took."""
    options = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    options.add_argument("--path", required=True, help="what to ask for")
    options.add_argument("--users", type=int, required=True, help="so many are known")
    options.add_argument("--seconds", type=int, required=True, help="how long")
    options.add_argument("command", nargs="+", help="starts the server; it is given --port")
    args = options.parse_args()
    first = args.path.replace("%d", str(known_user_ids(args.users)[0]))
    with running_server(args.command, first) as server:
        load(server, args.path, args.users, _WARM_UP_SECONDS)
        figures = load(server, args.path, args.users, args.seconds)
        memory, peak = server.memory()
    told = {"memory_mb": memory / 1e6, "server_peak_mb": peak / 1e6, "ready_s": server.ready_seconds}
    print(json.dumps({**figures, **told}))


def find_wrk() -> str:
    """Return where wrk is. Raises BenchError where it is not."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise BenchError("wrk, which makes the load, is not on PATH: apt-get install wrk")
    return wrk


def load(server: Server, path: str, users: int, seconds: int) -> dict[str, float]:
    """Ask for so many seconds, each connection at once after its last answer; return what wrk has printed.

    Raises BenchError where a request failed.
    """
    command = [find_wrk(), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(_SCRIPT)]
    command += [f"http://127.0.0.1:{server.port}", "--", path, str(known_user_ids(users)[0]), str(users)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = last_figures(done.stdout)
    if figures["failed"]:
        raise BenchError(f"{figures['failed']:,} requests for {path} failed.")
    return figures


if __name__ == "__main__":
    main()
