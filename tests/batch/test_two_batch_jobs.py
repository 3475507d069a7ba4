"""Two batch jobs for one window at once: the tables are those of one job, and neither fails."""

import shutil
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from helpers import ALL_TABLES, PATIENCE, NewSettings, contents, event, send, shop_days, write_events
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.batch import product_activity, user_brands
from lambda_spark.delta import commits, tables
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY, RECOMMENDATIONS, TRENDS, USER_BRANDS, Table
from lambda_spark.errors import OvertakenError
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import DAY, TimeRange

WINDOW = TimeRange(datetime(2020, 3, 4, tzinfo=timezone.utc), datetime(2020, 3, 8, tzinfo=timezone.utc))
Job = Callable[[SparkSession, Settings], object]
JOBS: dict[str, tuple[Job, list[Table]]] = {
    "batch_trends for a range": (partial(pipelines.batch_trends, asked=WINDOW), [PRODUCT_ACTIVITY, TRENDS]),
    "batch_trends": (pipelines.batch_trends, [PRODUCT_ACTIVITY, TRENDS]),
    "batch_brands": (pipelines.batch_brands, [USER_BRANDS]),
    "recommend": (partial(pipelines.recommend, asked=WINDOW), [RECOMMENDATIONS]),
}


class Meeting:
    """Makes two threads wait for each other before a step, the first time that each reaches it with a table."""

    def __init__(self) -> None:
        self.met: Counter[Table] = Counter()
        self._barrier, self._seen = threading.Barrier(2, timeout=PATIENCE), threading.local()

    def wait(self, table: Table) -> None:
        """Return once both threads have called it."""
        seen = vars(self._seen).setdefault("tables", set())
        if table not in seen:
            seen.add(table)
            self._barrier.wait()
            self.met[table] += 1


@pytest.fixture(scope="module")
def shop(spark: SparkSession, new_settings: NewSettings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return the settings of a master dataset of nine days without views."""
    settings = new_settings(trends={"min_events": 1, "smoothing": 1.0})
    file = write_events(tmp_path_factory.mktemp("files") / "events.csv", shop_days(range(1, 10)))
    pipelines.ingest_files(spark, settings, [file])
    return settings


def copy_of(settings: Settings, folder: Path) -> Settings:
    shutil.copytree(settings.data_root, folder)
    return settings.model_copy(update={"data_root": str(folder)})


def stored(root: str) -> dict[str, Counter[str]]:
    return {table.name: contents(root, table) for table in ALL_TABLES if tables.exists(root, table)}


def run_two(spark: SparkSession, settings: Settings, job: Job) -> None:
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(job, spark.newSession(), settings) for _ in range(2)]
    for each in running:
        each.result()


@pytest.mark.fault("two batch jobs for one window")
@pytest.mark.parametrize("name", JOBS)
def test_two_at_once_leave_what_one_leaves(
    name: str, spark: SparkSession, shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, written = JOBS[name]
    one, two = copy_of(shop, tmp_path / "one"), copy_of(shop, tmp_path / "two")
    job(spark, one)
    meetings = {"create": Meeting(), "commit": Meeting()}
    exists, commit_files = tables.exists, commits.commit_files

    def slow_exists(root: str, table: Table) -> bool:
        is_there = exists(root, table)
        meetings["create"].wait(table)
        return is_there

    def slow_commit(log: Any, table: Table, *rest: Any) -> None:
        meetings["commit"].wait(table)
        commit_files(log, table, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(commits, "exists", slow_exists)
        patched.setattr(commits, "commit_files", slow_commit)
        run_two(spark, two, job)
    # Both found no table, and both had all their rows ready before one of them committed.
    assert all(meeting.met == Counter(dict.fromkeys(written, 2)) for meeting in meetings.values())
    assert stored(two.data_root) == stored(one.data_root)
    assert all(stored(two.data_root)[table.name] for table in written)
    run_two(spark, two, job)
    assert stored(two.data_root) == stored(one.data_root)


def test_a_table_that_several_jobs_make_at_once_is_made_once(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    barrier, create = threading.Barrier(4, timeout=PATIENCE), DeltaTable.create

    def create_together(*args: Any, **options: Any) -> None:
        barrier.wait()
        create(*args, **options)

    monkeypatch.setattr(DeltaTable, "create", create_together)
    roots = [str(tmp_path / str(number)) for number in range(20)]
    for root in roots:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _, root=root: commits.create(spark, root, TRENDS), range(4)))
    assert [tables.version_of(root, TRENDS) for root in roots] == [0] * 20


def test_two_ranges_at_once_are_both_stored(spark: SparkSession, shop: Settings, tmp_path: Path) -> None:
    one, two = copy_of(shop, tmp_path / "one"), copy_of(shop, tmp_path / "two")
    other = TimeRange(WINDOW.start - DAY, WINDOW.end - DAY)
    for asked in (WINDOW, other):
        pipelines.batch_trends(spark, one, asked)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda asked: pipelines.batch_trends(spark.newSession(), two, asked), (WINDOW, other)))
    assert stored(two.data_root) == stored(one.data_root)


@pytest.mark.fault("a batch job that a later one has overtaken")
def test_a_view_never_goes_back_behind_what_the_speed_layer_has_dropped(
    spark: SparkSession, new_run: NewSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = new_run(partitions=1)
    root, stage = settings.data_root, product_activity.stage_product_activity
    send(settings.kafka, shop_days([1, 2]))
    pipelines.ingest_topic(spark, settings, available_now=True)
    early_brands = user_brands.stage_user_brands(spark, root, settings.brands, tables.version_of(root, EVENTS))

    def be_overtaken(*arguments: Any) -> commits.Staged:
        monkeypatch.undo()
        staged = stage(*arguments)
        send(settings.kafka, [event("2020-03-01 12:00:00", 77, 7)])
        pipelines.ingest_topic(spark, settings, available_now=True)
        pipelines.batch_trends(spark, settings)
        pipelines.batch_brands(spark, settings)
        return staged

    monkeypatch.setattr(product_activity, "stage_product_activity", be_overtaken)
    product_activity.update_product_activity(spark, root)
    assert "Another run has stored product_activity of later events meanwhile" in caplog.text
    with pytest.raises(OvertakenError, match=r"stored user_brands of later events .* repeat the command"):
        commits.commit_staged(root, early_brands)
    assert 7 in tables.read_arrow(root, PRODUCT_ACTIVITY, ["product_id"])["product_id"].to_pylist()
    assert 77 in tables.read_arrow(root, USER_BRANDS, ["user_id"])["user_id"].to_pylist()
