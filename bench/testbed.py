"""The test bed of the measurements: sizes, a broker, seeded event files, topics and data roots made from them."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from bench.malformed import send_half_malformed
from bench.process import job
from lambda_spark.local.broker import running_broker
from lambda_spark.local.processes import free_address, run_command
from lambda_spark.local.synthetic import generate_month, write_events
from lambda_spark.settings import PROJECT_ROOT, KafkaSettings, load_settings

FOLDER = PROJECT_ROOT / "data" / "bench"
EVENTS_PER_KNOWN_USER = 2
# The rule of the original system, which the alternatives implement.
TREND_RANK = {
    "LAMBDA_RECOMMENDATIONS__ORDER": "trend-rank",
    "LAMBDA_RECOMMENDATIONS__TOP_TRENDS": "200",
    "LAMBDA_RECOMMENDATIONS__PER_BRAND": "3",
}
_FIRST_USER_ID = 512_000_000


class Scale(NamedTuple):
    """The sizes of the measurements in full, or small enough for `make bench-quick`.

    Slow cases run `long_repetitions` times. `environment` has the settings that a scale needs.
    """

    name: str
    events: int
    users: int
    repetitions: int
    long_repetitions: int
    known_users: tuple[int, ...]
    probe_warm_up_seconds: int
    probe_seconds: int
    growth_batches: int
    serving_users: tuple[int, ...]
    load_seconds: int
    batch_events: int
    batch_sizes: tuple[int, ...]
    pandas_days: int
    environment: dict[str, str]
    is_published: bool


FULL = Scale(
    name="full",
    events=2_000_000,
    users=100_000,
    repetitions=5,
    long_repetitions=3,
    known_users=(100_000, 700_000, 1_000_000, 4_000_000),
    probe_warm_up_seconds=30,
    probe_seconds=60,
    growth_batches=1_000,
    serving_users=(300_000, 3_000_000),
    load_seconds=20,
    batch_events=67_500_000,
    batch_sizes=(1_000_000, 10_000_000, 67_500_000),
    # The days of the month that fit into 12 GB of memory.
    pandas_days=7,
    environment={},
    is_published=True,
)
_SMALL_TRIGGER = "25000"
QUICK = Scale(
    name="quick",
    events=100_000,
    users=10_000,
    repetitions=1,
    long_repetitions=1,
    known_users=(10_000,),
    probe_warm_up_seconds=10,
    probe_seconds=10,
    growth_batches=10,
    serving_users=(10_000,),
    load_seconds=3,
    batch_events=1_000_000,
    batch_sizes=(100_000, 1_000_000),
    pandas_days=30,
    # For more than one micro-batch.
    environment={
        "LAMBDA_SPEED__MAX_MESSAGES_PER_TRIGGER": _SMALL_TRIGGER,
        "LAMBDA_INGEST__MAX_MESSAGES_PER_TRIGGER": _SMALL_TRIGGER,
    },
    is_published=False,
)


class Testbed:
    """The broker, the scale, a temporary folder, and the topics and data roots that have been made so far."""

    def __init__(self, bootstrap_servers: str, scale: Scale, folder: Path) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.scale = scale
        self.folder = folder
        self._numbers = count(1)
        self._topics: dict[tuple[Path, int], str] = {}
        self._half_malformed: str | None = None
        self._roots: dict[tuple[object, ...], dict[str, str]] = {}

    def environment(self, topic: str, root: Path | None = None, partitions: int = 4) -> dict[str, str]:
        """Return the environment variables by which jobs use the topic and the data root."""
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
        """Return a new name for a topic."""
        return f"events-{next(self._numbers)}"

    def events_file(self) -> Path:
        """Return the file of a generated month of the scale's size."""
        events, users = self.scale.events, self.scale.users
        return _generated(FOLDER / f"events-{events}-{users}.csv", partial(generate_month, events=events, users=users))

    def known_users_file(self, users: int) -> Path:
        """Return a file with two events of each of so many users; their ids are consecutive."""
        return _generated(FOLDER / f"known-{users}.csv", partial(_known_users, users))

    def filled_topic(self, file: Path, partitions: int = 4) -> str:
        """Return a topic with the file's events; made once per file and number of partitions."""
        if (file, partitions) not in self._topics:
            topic = self.new_name()
            run_command(job("replay_events", str(file)), self.environment(topic, partitions=partitions))
            self._topics[file, partitions] = topic
        return self._topics[file, partitions]

    def half_malformed_topic(self) -> str:
        """Return a topic of as many messages as the scale has events, every second one malformed."""
        if self._half_malformed is None:
            print("Sending malformed messages ...", flush=True)
            self._half_malformed = self.new_name()
            send_half_malformed(self.kafka(self._half_malformed), self.events_file())
        return self._half_malformed

    def known_users(self, users: int, overrides: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a data root with so many users in both layers; made once per settings."""
        key = (users, *sorted(overrides.items()))
        if key not in self._roots:
            print(f"Making the tables of {users:,} users ...", flush=True)
            topic = self.filled_topic(self.known_users_file(users))
            environment = {**self.environment(topic, self.folder / self.new_name()), **overrides}
            for command in (job("ingest_events", "--available-now"), job("speed_stream", "--available-now")):
                run_command(command, environment)
            run_command(job("batch_brands"), environment)
            self._roots[key] = environment
        return self._roots[key]

    def month(self, events: int) -> Path:
        """Return the folder of a generated month of so many events, one file a day."""
        root = FOLDER / f"month-{events}"
        if not (root / "month").exists():
            print(f"Making a month of {events:,} events ...", flush=True)
            module = [sys.executable, "-m", "lambda_spark.local.synthetic"]
            run_command([*module, "--events", str(events), "--data-root", str(root)])
        return root / "month"

    def batch_root(self, events: int) -> Path:
        """Return a data root with the events of such a month and all batch views of it."""
        root, unfinished = FOLDER / f"batch-{events}", self.folder / f"batch-{events}"
        if not root.exists():
            print(f"Making the batch views of {events:,} events ...", flush=True)
            for command in (
                job("ingest_events", str(self.month(events))),
                job("batch_trends"),
                job("batch_brands"),
                job("recommend"),
            ):
                run_command(command, {"LAMBDA_DATA_ROOT": str(unfinished), **TREND_RANK})
            unfinished.replace(root)
        return root


@contextmanager
def open_testbed(scale: Scale) -> Iterator[Testbed]:
    """Start a broker for the block; its data is deleted afterwards."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    bootstrap_servers = free_address()
    with (
        tempfile.TemporaryDirectory(dir=FOLDER, prefix="testbed-") as folder,
        running_broker(bootstrap_servers, Path(folder) / "broker"),
    ):
        yield Testbed(bootstrap_servers, scale, Path(folder))


def known_user_ids(users: int) -> range:
    """Return the ids of the users of `Testbed.known_users_file`."""
    return range(_FIRST_USER_ID, _FIRST_USER_ID + users)


def _known_users(users: int) -> pa.Table:
    events = generate_month(events=EVENTS_PER_KNOWN_USER * users, users=max(users // 10, 1_000))
    ids = known_user_ids(users).start + np.arange(len(events)) % users
    return events.set_column(events.schema.get_field_index("user_id"), "user_id", pa.array(ids).cast(pa.string()))


def _generated(path: Path, make: "partial[pa.Table]") -> Path:
    if not path.exists():
        print(f"Making {path.name} ...", flush=True)
        write_events(path, make())
    return path
