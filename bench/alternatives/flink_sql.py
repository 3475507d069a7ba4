"""PyFlink: SQL top-N, newest instant by user and brand, then the 50 newest by user, into a sink that drops them.

Always one process, with the workers as its parallelism. Without checkpoints, as by default; with mini-batches and
object reuse, which are off by default and make it faster.
"""

import json
import time
from argparse import Namespace
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from socket import socket
from urllib.error import URLError
from urllib.request import urlopen

from common import LIMIT, progress, run, write_answer
from pyflink.table import EnvironmentSettings, TableEnvironment

POLL_SECONDS = 0.5
LISTS = f"""
    SELECT user_id, brand, seen_at FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY seen_at DESC, brand) AS position
        FROM (SELECT user_id, brand, max(event_time) AS seen_at
              FROM (SELECT user_id, lower(trim(brand)) AS brand, event_time FROM events)
              WHERE brand NOT IN ('', 'unknown') GROUP BY user_id, brand))
    WHERE position <= {LIMIT}
"""


def open_environment(args: Namespace, rest_port: int) -> TableEnvironment:
    """Open Flink with the topic as table `events`, which ends where the topic does now."""
    environment = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    options = {
        "pipeline.jars": args.jar.as_uri(),
        "pipeline.object-reuse": "true",
        "parallelism.default": str(args.workers),
        "rest.port": str(rest_port),
        "metrics.fetcher.update-interval": "500",
        "table.exec.mini-batch.enabled": "true",
        "table.exec.mini-batch.allow-latency": "1 s",
        "table.exec.mini-batch.size": "50000",
    }
    for name, value in options.items():
        environment.get_config().set(name, value)
    environment.execute_sql(f"""
        CREATE TABLE events (user_id STRING, brand STRING, event_time STRING) WITH (
            'connector' = 'kafka', 'topic' = '{args.topic}',
            'properties.bootstrap.servers' = '{args.bootstrap_servers}',
            'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'format' = 'json')""")
    environment.execute_sql("""
        CREATE TABLE nowhere (user_id STRING, brand STRING, seen_at STRING) WITH ('connector' = 'blackhole')""")
    return environment


def follow(url: str) -> None:
    """Print the number of events that Flink's source has read, until Flink ends with its only job."""
    count, counted = progress(every=1), 0
    with suppress(URLError):
        while True:
            time.sleep(POLL_SECONDS)
            with urlopen(url) as answer:
                read = json.load(answer)["vertices"][0]["metrics"]["read-records"]
            if read > counted:
                count(read - counted)
                counted = read
    count(0)


def write_lists(environment: TableEnvironment, folder: Path, users: list[str]) -> None:
    """Compute the lists of some users again for the comparison: the measured query stores none."""
    lists: dict[str, dict[str, str]] = defaultdict(dict)
    names = ", ".join(f"'{user}'" for user in users)
    with environment.execute_sql(f"SELECT * FROM ({LISTS}) WHERE user_id IN ({names})").collect() as rows:
        for row in rows:
            if row.get_row_kind().name in ("INSERT", "UPDATE_AFTER"):
                lists[row[0]][row[1]] = row[2]
            else:
                lists[row[0]].pop(row[1], None)
    write_answer(folder, lists)


def work(args: Namespace, _: int) -> None:
    """Run the query over the topic to its end."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        rest_port = probe.getsockname()[1]
    environment = open_environment(args, rest_port)
    running = environment.execute_sql(f"INSERT INTO nowhere {LISTS}")
    follow(f"http://127.0.0.1:{rest_port}/jobs/{running.get_job_client().get_job_id()}")
    running.wait()
    users = json.loads((args.scratch / "users.json").read_text())
    write_lists(environment, args.scratch, users)


if __name__ == "__main__":
    run(__doc__, work, is_one_process=True)
