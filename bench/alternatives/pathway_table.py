"""pathway: two incremental groupings, newest time by user and brand, then the 50 newest by user; nothing is stored."""

import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from threading import Thread
from typing import Any

from common import LIMIT, brand_of, progress, run, write_answer

FIRST_PORT = 21_110
IDLE_SECONDS = 10


def work(args: Namespace, worker: int) -> None:
    """Run the tables over the topic until nothing comes; pathway distributes partitions and users to the workers."""
    # Read when pathway is imported; `pathway spawn` sets the same variables.
    os.environ |= {"PATHWAY_PROCESSES": str(args.workers), "PATHWAY_PROCESS_ID": str(worker)}
    os.environ |= {"PATHWAY_FIRST_PORT": str(FIRST_PORT), "PATHWAY_THREADS": "1"}
    import pathway as pw

    # Only the first worker receives results and commits.
    count, users, active_at = progress(worker, every=10_000 if worker else sys.maxsize), {}, [0.0]

    def normalised(text: str) -> str:
        count(1)
        active_at[0] = time.monotonic()
        return brand_of(text) or ""

    def take(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:  # noqa: ARG001
        if is_addition:
            users[row["user_id"]] = dict(row["brands"])

    def committed(_: int) -> None:
        count(0)
        active_at[0] = time.monotonic()

    def end_when_idle() -> None:
        """End the process once it is idle: pathway streams have no end, and static tables no commits in between."""
        answer = args.scratch / "answer-0.json"
        while not (answer.exists() if worker else 0 < active_at[0] < time.monotonic() - IDLE_SECONDS):
            time.sleep(1)
        if not worker:
            write_answer(args.scratch, users)
        os._exit(0)

    schema = pw.schema_from_types(user_id=str, brand=str, event_time=str)
    kafka = {"bootstrap.servers": args.bootstrap_servers, "group.id": args.scratch.name}
    kafka["auto.offset.reset"] = "earliest"
    events = pw.io.kafka.read(kafka, args.topic, schema=schema, format="json")
    pw.io.subscribe(brand_lists(events, normalised), take, on_time_end=committed)
    Thread(target=end_when_idle, daemon=True).start()
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


def brand_lists(events: Any, normalised: Callable[[str], str]) -> Any:
    """Return a table of user_id and the newest (brand, event_time) pairs."""
    import pathway as pw

    def newest(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(sorted(pairs), key=lambda pair: pair[1], reverse=True)[:LIMIT])

    seen = events.select(pw.this.user_id, pw.this.event_time, brand=pw.apply_with_type(normalised, str, pw.this.brand))
    latest = (
        seen.filter(pw.this.brand != "")
        .groupby(pw.this.user_id, pw.this.brand)
        .reduce(pw.this.user_id, pw.this.brand, seen_at=pw.reducers.max(pw.this.event_time))
    )
    pairs = latest.select(pw.this.user_id, pair=pw.make_tuple(pw.this.brand, pw.this.seen_at))
    lists = pairs.groupby(pw.this.user_id).reduce(pw.this.user_id, all=pw.reducers.tuple(pw.this.pair))
    return lists.select(pw.this.user_id, brands=pw.apply(newest, pw.this.all))


if __name__ == "__main__":
    run(__doc__, work)
