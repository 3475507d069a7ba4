"""What tests share: one Spark session per process; one broker, one month and one run of all jobs for all processes."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx2
import hypothesis
import pytest
from all_jobs import run_all_jobs
from api_server import running_server
from helpers import PATIENCE, REAL_DATA, NewSettings, all_tables, send
from httpx2._config import DEFAULT_TIMEOUT_CONFIG
from pyspark.sql import SparkSession

from lambda_spark.delta.session import get_spark
from lambda_spark.kafka.client import ensure_topic
from lambda_spark.local.broker import start_broker, stop_broker
from lambda_spark.local.processes import free_address, wait_until
from lambda_spark.local.synthetic import write_month
from lambda_spark.replay.replay import replay
from lambda_spark.settings import Settings, load_settings

# On a machine with other work, the time of an example or an answer says nothing.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")
DEFAULT_TIMEOUT_CONFIG.__init__(timeout=PATIENCE)

# The fixtures for tests of the page.
pytest_plugins = ["browser"]

# With pytest-xdist there are several processes, gw0, gw1 and so on.
PROCESS = os.environ.get("PYTEST_XDIST_WORKER", "main")


# The first files for the processes, each of minutes; the third makes the reference while the others need none.
LONGEST = ("test_chaos.py", "test_readme.py", "test_cluster.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first: started last, one of them would keep a process busy after the others."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name not in LONGEST, item.path not in slow))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all processes of this run of the tests share."""
    own = tmp_path_factory.getbasetemp()
    folder = (own if PROCESS == "main" else own.parent) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Let one process at a time into the block."""
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = get_spark("tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def broker(shared: Path) -> Iterator[str]:
    """Yield the address of the tests' broker, which the first process starts and the last one stops."""
    address, folder = shared / "broker-address", shared / "broker"
    with (shared / "broker-users").open("w") as users:
        # Each process holds a shared lock while it uses the broker.
        fcntl.flock(users, fcntl.LOCK_SH)
        with locked(shared / "broker-start"):
            if not address.exists():
                address.write_text(free_address())
            start_broker(address.read_text(), folder)
        yield address.read_text()
        fcntl.flock(users, fcntl.LOCK_UN)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        stop_broker(folder)


@pytest.fixture(scope="session")
def new_topic(broker: str) -> Callable[..., str]:
    """Return a function that creates an empty topic and returns its name."""
    numbers = count(1)

    def create(partitions: int = 4) -> str:
        topic = f"events-{PROCESS}-{next(numbers)}"
        ensure_topic(load_settings(kafka={"bootstrap_servers": broker, "topic": topic, "partitions": partitions}).kafka)
        return topic

    return create


@pytest.fixture(scope="session")
def new_settings(tmp_path_factory: pytest.TempPathFactory) -> NewSettings:
    """Return a function that loads settings for an empty data root, with few shards since tests have few users."""

    def load(**sections: dict[str, object]) -> Settings:
        speed = {"shards": 8, "state_partitions": 2, **sections.pop("speed", {})}
        return load_settings(data_root=tmp_path_factory.mktemp("data"), speed=speed, **sections)

    return load


@pytest.fixture(scope="session")
def new_run(broker: str, new_topic: Callable[..., str], new_settings: NewSettings) -> NewSettings:
    """Return a function that loads settings for an empty topic and an empty data root."""

    def load(partitions: int = 4, **sections: dict[str, object]) -> Settings:
        return new_settings(kafka={"bootstrap_servers": broker, "topic": new_topic(partitions)}, **sections)

    return load


@pytest.fixture(scope="session")
def small_month(shared: Path) -> Path:
    """Return the event file of a month of 20,000 events."""
    path = shared / "events.csv"
    with locked(shared / "events.lock"):
        if not path.exists():
            write_month(path, events=20_000)
    return path


@pytest.fixture(scope="session")
def reference(spark: SparkSession, broker: str, shared: Path, small_month: Path) -> Settings:
    """Return the settings of a run of all jobs over that month and one message that is no event; one for all processes.

    Tests must not change its topic or tables: `copied` has tables that may be changed.
    """
    root, done = shared / "reference", shared / "reference-done"
    settings = load_settings(
        kafka={"bootstrap_servers": broker, "topic": "reference"},
        data_root=root,
        speed={"shards": 8, "state_partitions": 2},
    )
    with locked(shared / "reference.lock"):
        if not root.exists():
            ensure_topic(settings.kafka)
            replay(settings.kafka, [small_month])
            send(settings.kafka, [b"no event"])
            run_all_jobs(spark, settings)
            assert all(all_tables(settings.data_root).values())
            done.touch()
    assert done.exists(), "the run of all jobs has failed in another process"
    return settings


@pytest.fixture
def copied(reference: Settings, new_settings: NewSettings) -> Settings:
    """Return the settings of a copy of that run, whose tables may be changed."""
    settings = new_settings(kafka=reference.kafka.model_dump())
    shutil.copytree(reference.data_root, settings.data_root, dirs_exist_ok=True)
    return settings


@pytest.fixture(scope="session")
def server(reference: Settings) -> Iterator[str]:
    """Yield the address of a server over the reference, once the server has reached the broker."""
    with running_server(reference) as url:
        assert wait_until(lambda: httpx2.get(f"{url}/v1/status").json()["topic"]["is_reachable"], PATIENCE)
        yield url


@pytest.fixture(scope="session")
def real_file() -> Callable[[str], Path]:
    """Return a function that finds a real event file, or skips the test if the file is missing."""

    def find(name: str) -> Path:
        path = REAL_DATA / name
        if not path.exists():
            pytest.skip(f"the real file ../shared/data/{name} is not here: it is never part of the repository")
        return path

    return find
