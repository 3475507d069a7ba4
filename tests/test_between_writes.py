"""A failure before and after each commit of each job: in the end all tables are those of an undisturbed run."""

import shutil
from collections.abc import Callable, Sequence

import pytest
from conftest import NewSettings
from deltalake import DeltaTable
from deltalake.transaction import CommitProperties, RemoveAction
from helpers import all_tables, send, shop_days
from pyspark.errors import StreamingQueryException
from pyspark.sql import Row, SparkSession

from lambda_spark import commits, pipelines
from lambda_spark.settings import Settings
from lambda_spark.tables import (
    EVENTS,
    LIVE_ACTIVITY,
    PRODUCT_ACTIVITY,
    RECENT_BRANDS,
    RECOMMENDATIONS,
    REJECTED_EVENTS,
    TRENDS,
    USER_BRANDS,
    Table,
)

pytestmark = pytest.mark.fault("a failure between two writes")

SECTIONS = {"speed": {"shards": 2, "state_partitions": 1}, "brands": {"limit": 4}}
Job = Callable[[SparkSession, Settings], object]
JOBS: Sequence[Job] = (
    lambda spark, settings: pipelines.ingest_topic(spark, settings, available_now=True),
    lambda spark, settings: pipelines.speed_stream(spark, settings, available_now=True),
    pipelines.batch_trends,
    pipelines.batch_brands,
    pipelines.recommend,
)
MASTER_DATASET = [REJECTED_EVENTS, EVENTS]
VIEWS = [LIVE_ACTIVITY, RECENT_BRANDS, PRODUCT_ACTIVITY, TRENDS, USER_BRANDS, RECOMMENDATIONS]
SIDES = ("before its commit", "after its commit")


class Plug:
    """Stands for `commits.commit_files`, and fails once before and once after each commit."""

    def __init__(self) -> None:
        self._commit_files = commits.commit_files
        self.pulled: list[tuple[Table, str]] = []

    def __call__(
        self,
        log: DeltaTable,
        table: Table,
        added: Sequence[Row],
        removed: Sequence[RemoveAction],
        commit: CommitProperties,
    ) -> None:
        before, after = SIDES
        self._pull(table, before)
        self._commit_files(log, table, added, removed, commit)
        self._pull(table, after)

    def _pull(self, table: Table, side: str) -> None:
        if (table, side) not in self.pulled:
            self.pulled.append((table, side))
            raise OSError("pulled the plug")


def test_all_tables_are_those_of_an_undisturbed_run(
    spark: SparkSession, new_run: NewSettings, new_settings: NewSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = new_run(**SECTIONS)
    disturbed = new_settings(kafka=settings.kafka.model_dump(), **SECTIONS)
    send(settings.kafka, shop_days(range(1, 9)))
    for job in JOBS:
        job(spark, settings)
    shutil.copytree(settings.data_root, disturbed.data_root, dirs_exist_ok=True)
    send(settings.kafka, [*shop_days(range(5, 10)), *[b"no event"] * 40])
    for job in JOBS:
        job(spark, settings)
    plug = Plug()
    monkeypatch.setattr(commits, "commit_files", plug)
    for job in JOBS:
        while is_interrupted(job, spark, disturbed):
            pass
    assert all_tables(disturbed.data_root) == all_tables(settings.data_root)
    assert plug.pulled == [(table, side) for table in [*MASTER_DATASET, *VIEWS] for side in SIDES]


def is_interrupted(job: Job, spark: SparkSession, settings: Settings) -> bool:
    try:
        job(spark, settings)
    except (OSError, StreamingQueryException) as error:
        if "pulled the plug" not in str(error):
            raise
        return True
    return False
