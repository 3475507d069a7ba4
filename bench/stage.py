"""Where measurements take place: a broker of the bench's own, seeded event files, topics filled from them."""

import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.malformed import send_half_malformed
from bench.process import job, run_unmeasured
from bench.scale import Scale
from lambda_spark.local.broker import running_broker
from lambda_spark.local.synthetic import generate_month, write_events
from lambda_spark.settings import PROJECT_ROOT, KafkaSettings, load_settings

FOLDER = PROJECT_ROOT / "data" / "bench"
EVENTS_PER_KNOWN_USER = 2
# What lambda-spark is measured beside recommends in this order.
ORIGIN_ORDER = {
    "LAMBDA_RECOMMENDATIONS__ORDER": "trend-rank",
    "LAMBDA_RECOMMENDATIONS__TOP_TRENDS": "200",
    "LAMBDA_RECOMMENDATIONS__PER_BRAND": "3",
}
_FIRST_USER_ID = 512_000_000


class Stage:
    """The broker's address, the scale, a folder that goes with it, and what has been made so far."""

    def __init__(self, bootstrap_servers: str, scale: Scale, folder: Path) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.scale = scale
        self.folder = folder
        self._numbers = count(1)
        self._topics: dict[tuple[Path, int], str] = {}
        self._half_malformed: str | None = None
        self._roots: dict[tuple[object, ...], dict[str, str]] = {}

    def environment(self, topic: str, root: Path | None = None, partitions: int = 4) -> dict[str, str]:
        """Return the environment in which the project's jobs read and write there."""
        return self.scale.environment | {
            "LAMBDA_DATA_ROOT": str(root or FOLDER / "nowhere"),
            "LAMBDA_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "LAMBDA_KAFKA__TOPIC": topic,
            "LAMBDA_KAFKA__PARTITIONS": str(partitions),
        }

    def kafka(self, topic: str) -> KafkaSettings:
        """Return the settings of a topic."""
        return load_settings(kafka={"bootstrap_servers": self.bootstrap_servers, "topic": topic}).kafka

    def new_name(self) -> str:
        """Return a name that no topic has had yet."""
        return f"events-{next(self._numbers)}"

    def events_file(self) -> Path:
        """Return the file of the scale's events, as of a month in a shop."""
        events, users = self.scale.events, self.scale.users
        return _made(FOLDER / f"events-{events}-{users}.csv", partial(generate_month, events=events, users=users))

    def known_users_file(self, users: int) -> Path:
        """Return a file with two events of each of so many users, whose ids are consecutive."""
        return _made(FOLDER / f"known-{users}.csv", partial(_known_users, users))

    def filled_topic(self, file: Path, partitions: int = 4) -> str:
        """Return the topic that holds the file's events."""
        if (file, partitions) not in self._topics:
            topic = self.new_name()
            run_unmeasured(job("replay_events", str(file)), self.environment(topic, partitions=partitions))
            self._topics[file, partitions] = topic
        return self._topics[file, partitions]

    def half_malformed_topic(self) -> str:
        """Return the topic of as many messages as the scale has events, every second of them malformed."""
        if self._half_malformed is None:
            print("Sending malformed messages ...", flush=True)
            self._half_malformed = self.new_name()
            send_half_malformed(self.kafka(self._half_malformed), self.events_file())
        return self._half_malformed

    def known_users(self, users: int, overrides: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a data root where both layers know so many users; made once per settings."""
        key = (users, *sorted(overrides.items()))
        if key not in self._roots:
            print(f"Making {users:,} users known ...", flush=True)
            topic = self.filled_topic(self.known_users_file(users))
            environment = {**self.environment(topic, self.folder / self.new_name()), **overrides}
            for command in (job("ingest_events", "--available-now"), job("speed_stream", "--available-now")):
                run_unmeasured(command, environment)
            run_unmeasured(job("batch_brands"), environment)
            self._roots[key] = environment
        return self._roots[key]

    def month(self, events: int) -> Path:
        """Return the folder of a month of so many events, a file a day, as of a shop like REES46's."""
        root = FOLDER / f"month-{events}"
        if not (root / "month").exists():
            print(f"Making a month of {events:,} events ...", flush=True)
            make = [
                sys.executable,
                "-m",
                "lambda_spark.local.synthetic",
                "--events",
                str(events),
                "--data-root",
                str(root),
            ]
            run_unmeasured(make, {})
        return root / "month"

    def batch_root(self, events: int) -> Path:
        """Return a data root that holds such a month and all batch views of it."""
        root, unfinished = FOLDER / f"batch-{events}", self.folder / f"batch-{events}"
        if not root.exists():
            print(f"Making the batch views of {events:,} events ...", flush=True)
            for command in (
                job("ingest_events", str(self.month(events))),
                job("batch_trends"),
                job("batch_brands"),
                job("recommend"),
            ):
                run_unmeasured(command, {"LAMBDA_DATA_ROOT": str(unfinished), **ORIGIN_ORDER})
            unfinished.replace(root)
        return root


@contextmanager
def open_stage(scale: Scale) -> Iterator[Stage]:
    """Start a broker whose data is gone afterwards."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    bootstrap_servers = f"127.0.0.1:{free_port()}"
    with (
        tempfile.TemporaryDirectory(dir=FOLDER, prefix="stage-") as folder,
        running_broker(bootstrap_servers, Path(folder) / "broker"),
    ):
        yield Stage(bootstrap_servers, scale, Path(folder))


def free_port() -> int:
    """Return a port of this machine that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def known_user_ids(users: int) -> range:
    """Return the ids of the users of `Stage.known_users_file`."""
    return range(_FIRST_USER_ID, _FIRST_USER_ID + users)


def _known_users(users: int) -> pa.Table:
    events = generate_month(events=EVENTS_PER_KNOWN_USER * users, users=max(users // 10, 1_000))
    ids = known_user_ids(users).start + np.arange(len(events)) % users
    return events.set_column(events.schema.get_field_index("user_id"), "user_id", pa.array(ids).cast(pa.string()))


def _made(path: Path, make: "partial[pa.Table]") -> Path:
    if not path.exists():
        print(f"Making {path.name} ...", flush=True)
        write_events(path, make())
    return path
