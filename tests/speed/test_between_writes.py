"""A failure between two commits of each job: in the end all tables are those of an undisturbed run."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import killed_at
import pytest
from deltalake import DeltaTable
from helpers import NewSettings, all_tables, environment_of, send, shop_days
from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta import commits
from lambda_spark.delta.tables import (
    EVENTS,
    PRODUCT_ACTIVITY,
    RECENT_BRANDS,
    RECOMMENDATIONS,
    REJECTED_EVENTS,
    TRENDS,
    USER_BRANDS,
    Table,
)
from lambda_spark.settings import PROJECT_ROOT, Settings

pytestmark = [pytest.mark.fault("a failure between two writes"), pytest.mark.slow]

SECTIONS = {"speed": {"shards": 2, "state_partitions": 1}, "brands": {"limit": 4}}
Job = Callable[[SparkSession, Settings], object]
JOBS: Sequence[Job] = (
    lambda spark, settings: pipelines.ingest_topic(spark, settings, available_now=True),
    lambda spark, settings: pipelines.speed_stream(spark, settings, available_now=True),
    pipelines.batch_trends,
    pipelines.batch_brands,
    pipelines.recommend,
)
COMMANDS = (
    "jobs/ingest_events.py --available-now",
    "jobs/speed_stream.py --available-now",
    "jobs/batch_trends.py",
    "jobs/batch_brands.py",
    "jobs/recommend.py",
)
MASTER_DATASET = [REJECTED_EVENTS, EVENTS]
VIEWS = [RECENT_BRANDS, PRODUCT_ACTIVITY, TRENDS, USER_BRANDS, RECOMMENDATIONS]
Shops = tuple[Settings, Settings]


@pytest.fixture
def shops(spark: SparkSession, new_run: NewSettings, new_settings: NewSettings) -> Shops:
    """Return a shop in which every job has run twice, and one in which they have run once since the topic grew."""
    settings = new_run(**SECTIONS)
    disturbed = new_settings(kafka=settings.kafka.model_dump(), **SECTIONS)
    send(settings.kafka, shop_days(range(1, 9)))
    for job in JOBS:
        job(spark, settings)
    shutil.copytree(settings.data_root, disturbed.data_root, dirs_exist_ok=True)
    send(settings.kafka, [*shop_days(range(5, 10)), *[b"no event"] * 40])
    for job in JOBS:
        job(spark, settings)
    return settings, disturbed


def test_a_failure_after_each_commit_changes_nothing_in_the_end(
    spark: SparkSession, shops: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, disturbed = shops
    commit_files, failed = commits.commit_files, []

    def commit_and_fail_once(log: DeltaTable, table: Table, *others: object) -> None:
        commit_files(log, table, *others)
        if table not in failed:
            failed.append(table)
            raise OSError("pulled the plug")

    monkeypatch.setattr(commits, "commit_files", commit_and_fail_once)
    for job in JOBS:
        while is_interrupted(job, spark, disturbed):
            pass
    assert all_tables(disturbed.data_root) == all_tables(settings.data_root)
    assert failed == [*MASTER_DATASET, *VIEWS]


def is_interrupted(job: Job, spark: SparkSession, settings: Settings) -> bool:
    try:
        job(spark, settings)
    except (OSError, StreamingQueryException) as error:
        if "pulled the plug" not in str(error):
            raise
        return True
    return False


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_kill_before_and_after_each_commit_changes_nothing_in_the_end(shops: Shops, tmp_path: Path) -> None:
    settings, disturbed = shops
    done = tmp_path / "done"
    done.touch()
    environment = environment_of(disturbed, LAMBDA_BRANDS__LIMIT=str(disturbed.brands.limit))
    for job in COMMANDS:
        command = ["spark-submit", killed_at.__file__, str(done), *job.split()]
        while (ended := subprocess.run(command, env=environment, cwd=PROJECT_ROOT, check=False)).returncode < 0:
            assert ended.returncode == -signal.SIGKILL
        assert ended.returncode == 0
    assert all_tables(disturbed.data_root) == all_tables(settings.data_root)
    assert done.read_text().splitlines() == killed_at.points([*MASTER_DATASET, *VIEWS])
