"""The API under load, beside a constant and a look-up by key, and the time from an event to an answer with it."""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.case import Case, Column, Figures, Goal, Run, Table
from bench.freshness import PACKAGES
from bench.process import Measurement, job
from bench.results import last_figures
from bench.server import CONNECTIONS, SERVE, UNLIMITED, find_wrk
from bench.serving_data import answers_file, serving_root
from bench.testbed import Testbed
from bench.throughput import ALTERNATIVES
from lambda_spark.delta import tables
from lambda_spark.delta.tables import PRODUCT_ACTIVITY
from lambda_spark.local.processes import run_command

COLUMNS = (
    Column("rate", "requests/s", has_ratio=True),
    Column("p50_ms", "median, ms", "{:,.2f}"),
    Column("p95_ms", "95th percentile, ms", "{:,.2f}"),
    Column("p99_ms", "99th percentile, ms", "{:,.2f}"),
    Column("memory_mb", "memory, MB"),
    Column("server_peak_mb", "at most, MB"),
    Column("ready_s", "answers after, s", "{:,.1f}"),
)
FRESH_COLUMNS = (
    Column("median_ms", "in the answer after, median, ms"),
    Column("p95_ms", "95th percentile, ms"),
    Column("seen_percent", "events seen, %", "{:.1f}"),
    Column("batch_ms", "a micro-batch, median, ms"),
    Column("peak_mb", "peak memory of all, MB"),
)
_WEB_PACKAGES = ("fastapi", "uvicorn", "uvloop", "httptools", "orjson", "deltalake", "duckdb", "pyarrow", "numpy")
_CONSTANT = "a constant"


def serving_table(testbed: Testbed) -> Table:
    """Return the table of GET /v1/users/{id}/recommendations for random known users, beside a plain app."""
    repetitions = testbed.scale.long_repetitions
    cases = [Case(_CONSTANT, partial(_plain_run, testbed), "plain FastAPI: the limit", repetitions)]
    for users in testbed.scale.serving_users:
        own = partial(_own_run, testbed, users)
        cases.append(Case(_own_name(users), own, "computed when asked, with evidence", repetitions))
        by_key = "computed before, stored text, nothing newer"
        cases.append(
            Case(f"a key in SQLite, {users:,} users", partial(_look_up_run, testbed, users), by_key, repetitions)
        )
    data = f"{CONNECTIONS} connections by wrk for {testbed.scale.load_seconds} s, one worker, 9 brands a user"
    goals = load_goals(testbed.scale.serving_users)
    return Table("serving", "Recommendations over HTTP", cases, COLUMNS, "", _WEB_PACKAGES, data, goals)


def fresh_table(testbed: Testbed) -> Table:
    """Return the table of 1,000 events a second: from sending an event to its brand in GET /v1/users/{id}/brands."""
    sizes = testbed.scale.known_users[:2]
    cases = [
        Case(_known_name(users), partial(_fresh_run, testbed, users), "", testbed.scale.long_repetitions)
        for users in sizes
    ]
    packages, data = (*PACKAGES, *_WEB_PACKAGES[:2]), "1,000 events/s offered, the stream's default trigger"
    goals = fresh_goals(sizes)
    return Table("serving-freshness", "From sent to answered", cases, FRESH_COLUMNS, "", packages, data, goals)


def load_goals(sizes: Sequence[int]) -> list[Goal]:
    """Return the goals of the API under load, by number of users."""
    goals = []
    for name in map(_own_name, sizes):
        goals.append(Goal(name, "rate", 0.5, "half of the constant's requests/s", "{:.0%}", True, _CONSTANT))
        goals.append(Goal(name, "p99_ms", 10, "99 % within 10 ms", "{:.1f} ms"))
        goals.append(Goal(name, "memory_mb", 1_000, "under 1 GB", "{:,.0f} MB"))
    return goals


def fresh_goals(sizes: Sequence[int]) -> list[Goal]:
    """Return the goals for the time until an event is answered, by number of known users."""
    goals = []
    for name in map(_known_name, sizes):
        goals.append(Goal(name, "median_ms", 1_000, "half of the events within 1 s", "{:,.0f} ms"))
        goals.append(Goal(name, "p95_ms", 2_000, "95 % within 2 s", "{:,.0f} ms"))
        goals.append(Goal(name, "seen_percent", 100, "all seen", "{:.1f} %", is_least=True))
    return goals


def _own_name(users: int) -> str:
    return f"lambda-spark, {users:,} users"


def _known_name(users: int) -> str:
    return f"{users:,} users known"


def _plain_run(testbed: Testbed, _: Path) -> Run:
    return _load_run(testbed, "/constant", 1, [str(ALTERNATIVES / "plain_server.py")], {})


def _look_up_run(testbed: Testbed, users: int, _: Path) -> Run:
    server = [str(ALTERNATIVES / "plain_server.py"), "--answers", str(answers_file(testbed, users))]
    return _load_run(testbed, "/users/%d/recommendations", users, server, {})


def _own_run(testbed: Testbed, users: int, _: Path) -> Run:
    environment = {"LAMBDA_DATA_ROOT": str(serving_root(testbed, users)), **UNLIMITED}
    return _load_run(testbed, "/v1/users/%d/recommendations", users, SERVE, environment)


def _load_run(testbed: Testbed, path: str, users: int, server: Sequence[str], environment: Mapping[str, str]) -> Run:
    find_wrk()
    command = [sys.executable, "-m", "bench.server", "--path", path, "--users", str(users)]
    command += ["--seconds", str(testbed.scale.load_seconds), "--", sys.executable, *server]
    return Run(command, environment, _printed)


def _fresh_run(testbed: Testbed, users: int, _: Path) -> Run:
    environment = {**testbed.known_users(users, {}), **UNLIMITED}
    if not tables.exists(environment["LAMBDA_DATA_ROOT"], PRODUCT_ACTIVITY):
        run_command(job("batch_trends"), environment)
    command = [sys.executable, "-m", "bench.serving_probe", "--users", str(users)]
    command += ["--warm-up", str(testbed.scale.probe_warm_up_seconds), "--seconds", str(testbed.scale.probe_seconds)]
    return Run(command, environment, lambda measured: {**_printed(measured), "peak_mb": _peak_mb(measured)})


def _printed(measured: Measurement) -> Figures:
    return last_figures(measured.output)


def _peak_mb(measured: Measurement) -> float:
    return measured.usage().peak_bytes / 1e6
