"""One Spark session and one Kafka broker for all tests of a process, and the real files where they are at hand."""

import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import httpx2
import hypothesis
import pytest
from all_jobs import run_all_jobs
from api_server import running_server
from helpers import REAL_DATA, NewSettings, all_tables, send
from pyspark.sql import SparkSession

from lambda_spark.delta.session import get_spark
from lambda_spark.kafka.client import ensure_topic
from lambda_spark.local.broker import running_broker
from lambda_spark.local.processes import free_address, wait_until
from lambda_spark.local.synthetic import write_month
from lambda_spark.replay.replay import replay
from lambda_spark.settings import Settings, load_settings

# How long an example takes says nothing on a machine that does other things too.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

# The fixtures of the page's tests.
pytest_plugins = ["browser"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process run the tests that share an expensive run, and each other file's tests."""
    for item in items:
        is_of_reference = "reference" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("reference" if is_of_reference else item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    session = get_spark("tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of the tests' broker."""
    bootstrap_servers = free_address()
    with running_broker(bootstrap_servers, tmp_path_factory.mktemp("broker")):
        yield bootstrap_servers


@pytest.fixture(scope="session")
def new_topic(broker: str) -> Callable[..., str]:
    """Return what makes an empty topic and returns its name."""
    numbers = count(1)

    def make(partitions: int = 4) -> str:
        topic = f"events-{next(numbers)}"
        ensure_topic(load_settings(kafka={"bootstrap_servers": broker, "topic": topic, "partitions": partitions}).kafka)
        return topic

    return make


@pytest.fixture(scope="session")
def new_settings(tmp_path_factory: pytest.TempPathFactory) -> NewSettings:
    """Return what loads settings for an empty data root, with few shards since tests have few users."""

    def load(**sections: dict[str, object]) -> Settings:
        speed = {"shards": 8, "state_partitions": 2, **sections.pop("speed", {})}
        return load_settings(data_root=tmp_path_factory.mktemp("data"), speed=speed, **sections)

    return load


@pytest.fixture(scope="session")
def new_run(broker: str, new_topic: Callable[..., str], new_settings: NewSettings) -> NewSettings:
    """Return what loads settings for an empty topic and an empty data root."""

    def load(partitions: int = 4, **sections: dict[str, object]) -> Settings:
        return new_settings(kafka={"bootstrap_servers": broker, "topic": new_topic(partitions)}, **sections)

    return load


@pytest.fixture(scope="session")
def small_month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the event file of a month of 20,000 events."""
    path = tmp_path_factory.mktemp("month") / "events.csv"
    write_month(path, events=20_000)
    return path


@pytest.fixture(scope="session")
def reference(spark: SparkSession, new_run: NewSettings, small_month: Path) -> Settings:
    """Return the settings under which every job has gone over that month, and a message that is no event, here."""
    settings = new_run()
    replay(settings.kafka, [small_month])
    send(settings.kafka, [b"no event"])
    run_all_jobs(spark, settings)
    assert all(all_tables(settings.data_root).values())
    return settings


@pytest.fixture
def copied(reference: Settings, new_settings: NewSettings) -> Settings:
    """Return the settings of a copy of that run, which may be changed."""
    settings = new_settings(kafka=reference.kafka.model_dump())
    shutil.copytree(reference.data_root, settings.data_root, dirs_exist_ok=True)
    return settings


@pytest.fixture(scope="session")
def server(reference: Settings) -> Iterator[str]:
    """Yield the address of a server over that run, which nobody is to change; it has asked the broker already."""
    with running_server(reference) as url:
        assert wait_until(lambda: httpx2.get(f"{url}/v1/status").json()["topic"]["is_reachable"], 30)
        yield url


@pytest.fixture(scope="session")
def real_file() -> Callable[[str], Path]:
    """Return what finds a real event file, or skips the test where it is not at hand."""

    def find(name: str) -> Path:
        path = REAL_DATA / name
        if not path.exists():
            pytest.skip(f"the real file ../shared/data/{name} is not here: it is never part of the repository")
        return path

    return find
