"""OPTIMIZE and VACUUM while streams write: no row changes or is counted twice, and no view is recomputed."""

import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from all_jobs import run_batch_jobs, run_streams
from deltalake import DeltaTable
from helpers import ALL_TABLES, NewSettings, all_tables, read_events, run_job, send, shop_days, versions, write_events
from pyspark.sql import Row, SparkSession

from lambda_spark import pipelines
from lambda_spark.api.user_index import follow, load_index
from lambda_spark.delta import event_log, maintenance, tables
from lambda_spark.delta.event_log import changed_days, event_days
from lambda_spark.delta.maintenance import compact, optimize
from lambda_spark.delta.tables import (
    EVENTS,
    PRODUCT_ACTIVITY,
    RECENT_BRANDS,
    RECOMMENDATIONS,
    REJECTED_EVENTS,
    USER_BRANDS,
    Table,
    path_of,
)
from lambda_spark.errors import NotComputedError
from lambda_spark.serving import verification
from lambda_spark.serving.snapshot import slices_of
from lambda_spark.settings import PROJECT_ROOT, Settings

pytestmark = pytest.mark.fault("OPTIMIZE and VACUUM while streams write")

Factory = pytest.TempPathFactory

SMALL = {
    "ingest": {"max_messages_per_trigger": 60, "trigger": "0 seconds"},
    "speed": {"shards": 2, "state_partitions": 1, "max_messages_per_trigger": 60, "trigger": "0 seconds"},
}


@contextmanager
def optimizing(root: str) -> Iterator[None]:
    """Optimize repeatedly in another thread, and keep no file that a table no longer has."""
    stop = Event()

    def work() -> None:
        while not stop.wait(0.1):
            assert all(each.is_done for each in optimize(root, kept_hours=0))

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            yield
        finally:
            stop.set()
    working.result()


def operations(root: str, table: Table) -> set[str]:
    return {commit["operation"] for commit in DeltaTable(path_of(root, table)).history()}


def moves_of_rows(root: str, table: Table) -> int:
    commits = [tables.commit_of(root, table, number) or [] for number in range(tables.version_of(root, table) + 1)]
    return sum(tables.is_maintenance(commit) and any("add" in action for action in commit) for commit in commits)


@pytest.mark.long
def test_all_tables_are_those_of_an_undisturbed_run(
    spark: SparkSession, new_run: NewSettings, new_settings: NewSettings
) -> None:
    quiet, found = new_run(**SMALL), []
    disturbed = new_settings(kafka=quiet.kafka.model_dump(), **SMALL)
    root = disturbed.data_root
    for days in (range(1, 9), range(6, 10)):
        send(quiet.kafka, [*shop_days(days), b"no event"])
        run_streams(spark, quiet)
        with optimizing(root):
            run_streams(spark, disturbed)
        found += verification.check_identity(spark, disturbed)
        run_batch_jobs(spark, quiet)
        run_batch_jobs(spark, disturbed)
    assert all_tables(root) == all_tables(quiet.data_root)
    assert [difference for difference in found if not difference.is_none] == []
    assert moves_of_rows(root, EVENTS) > 1
    assert "VACUUM END" in operations(root, EVENTS) & operations(root, RECENT_BRANDS)


@pytest.fixture(scope="module")
def grown(
    spark: SparkSession, reference: Settings, small_month: Path, new_settings: NewSettings, tmp_path_factory: Factory
) -> Settings:
    """Return the settings of a run with a second file of each day, and of rejected events."""
    settings = new_settings(kafka=reference.kafka.model_dump())
    shutil.copytree(reference.data_root, settings.data_root, dirs_exist_ok=True)
    rows = [row | {"event_time": row["event_time"][:19] + ".123457"} for row in read_events(small_month)[::50]]
    file = tmp_path_factory.mktemp("more") / "more.csv"
    pipelines.ingest_files(spark, settings, [write_events(file, [*rows, rows[0] | {"user_id": "5.5E+8"}])])
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)
    return settings


@pytest.fixture
def root(grown: Settings, tmp_path: Path) -> str:
    """Return the data root of a copy of that run."""
    shutil.copytree(grown.data_root, tmp_path / "data")
    return str(tmp_path / "data")


def test_the_master_dataset_becomes_one_file_a_day_with_the_same_rows_and_lineages(root: str) -> None:
    before, version, days = all_tables(root), tables.version_of(root, EVENTS), event_days(root)
    lineages = [tables.lineage_of(root, table) for table in ALL_TABLES]
    done = {each.table: each for each in optimize(root)}
    assert all_tables(root) == before
    assert [tables.lineage_of(root, table) for table in ALL_TABLES] == lineages
    assert event_days(root) == days
    assert done[EVENTS].before > done[EVENTS].after == len(days)
    assert done[REJECTED_EVENTS].before > done[REJECTED_EVENTS].after == 1
    assert event_log.event_files(root, after=version) == []
    upkeep = [tables.is_maintenance(tables.commit_of(root, EVENTS, number) or []) for number in (version, version + 1)]
    assert upkeep == [False, True]
    # Files that were just replaced are kept for readers of the old version.
    assert all(Path(path).exists() for path in tables.paths_of(root, EVENTS, version))
    assert not any(each.removed for each in done.values())


@pytest.mark.slow
def test_two_at_once_merge_the_same_files_only_once(root: str) -> None:
    before = all_tables(root)
    with ThreadPoolExecutor(2) as pool:
        done = [each for found in pool.map(optimize, [root, root]) for each in found]
    assert all_tables(root) == before
    assert all(each.is_done for each in done)
    assert len(tables.files_of(root, EVENTS)) == len(event_days(root))


def test_the_second_to_merge_the_same_files_changes_nothing(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = all_tables(root), maintenance._merged

    def write_slowly(*what: Any) -> Row:
        monkeypatch.undo()
        assert compact(root, EVENTS)
        return write(*what)

    monkeypatch.setattr(maintenance, "_merged", write_slowly)
    assert not compact(root, EVENTS)
    assert all_tables(root) == before
    assert moves_of_rows(root, EVENTS) == 1


def test_events_that_are_appended_meanwhile_are_kept(
    spark: SparkSession, grown: Settings, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, write = shop_days([3]), maintenance._merged
    before = tables.read_arrow(root, EVENTS, ["user_id"]).num_rows
    file = write_events(tmp_path / "events.csv", events)

    def write_slowly(*what: Any) -> Row:
        monkeypatch.undo()
        pipelines.ingest_files(spark, grown.model_copy(update={"data_root": root}), [file])
        return write(*what)

    monkeypatch.setattr(maintenance, "_merged", write_slowly)
    assert compact(root, EVENTS)
    assert tables.read_arrow(root, EVENTS, ["user_id"]).num_rows == before + len(events)


def test_a_file_that_is_large_enough_stays(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    version = tables.version_of(root, EVENTS)
    monkeypatch.setattr(maintenance, "_TARGET_BYTES", 1)
    assert compact(root, EVENTS)
    assert tables.version_of(root, EVENTS) == version


def test_files_stay_while_a_view_or_the_last_answer_was_computed_from_them(root: str) -> None:
    known = tables.lineage_of(root, RECOMMENDATIONS)["snapshot"]
    optimize(root, kept_hours=0)
    files = [file for part in slices_of(root, known) for file in part.files]
    assert {file.day for file in files} == {day.day for day in event_days(root)}
    assert all(Path(file.path).exists() for file in files)
    for view in (PRODUCT_ACTIVITY, USER_BRANDS, RECOMMENDATIONS):
        shutil.rmtree(path_of(root, view))
    optimize(root, kept_hours=0)
    with pytest.raises(NotComputedError, match="removed since, by `make optimize`: ask again"):
        slices_of(root, known)


def test_no_view_is_recomputed_after_it(spark: SparkSession, grown: Settings, root: str) -> None:
    settings, version = grown.model_copy(update={"data_root": root}), tables.version_of(root, EVENTS)
    optimize(root)
    before = versions(root)
    assert before[EVENTS.name] > version
    assert changed_days(root, version, before[EVENTS.name]) == []
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)
    assert versions(root) == before


def test_the_server_takes_no_row_twice_if_the_realtime_view_was_rewritten(root: str) -> None:
    index = load_index(root, 4)
    users = index.recent_users(9)
    assert DeltaTable(path_of(root, RECENT_BRANDS)).optimize.z_order(["user_id"])["numFilesAdded"] > 0
    follow(root, index, 4)
    assert index.recent_users(9) == users
    assert index.version == tables.version_of(root, RECENT_BRANDS)


def test_the_job_shows_what_it_has_done(grown: Settings, root: str, tmp_path: Path) -> None:
    settings = grown.model_copy(update={"data_root": root})
    command = [sys.executable, str(PROJECT_ROOT / "jobs" / "optimize.py")]
    shown = run_job(command, settings, tmp_path)
    (line,) = [line for line in shown.splitlines() if line.strip().startswith("events")]
    before, after = len(tables.files_of(grown.data_root, EVENTS)), len(tables.files_of(root, EVENTS))
    assert line.split() == ["events", str(before), str(after), "0"]
    empty = settings.model_copy(update={"data_root": str(tmp_path / "empty")})
    assert "There are no tables" in run_job(command, empty, tmp_path)
