"""The Lambda identity of the present tables, and every view made anew beside them while the stream goes on."""

import shutil
from pathlib import Path

import pytest
from all_jobs import run_all_jobs, run_batch_jobs
from deltalake import DeltaTable
from helpers import NewSettings, all_tables, contents, random_events, run_job, send, versions
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta import commits, tables
from lambda_spark.delta.tables import PRODUCT_ACTIVITY, RECENT_BRANDS, USER_BRANDS
from lambda_spark.errors import NotComputedError
from lambda_spark.serving import verification
from lambda_spark.serving.identity_result import read_identity_result
from lambda_spark.settings import PROJECT_ROOT, Settings

SECTIONS = {
    "speed": {"max_messages_per_trigger": 40},
    "brands": {"limit": 5},
    "trends": {"min_events": 1, "smoothing": 1.0, "days": 2},
}
VIEWS = (PRODUCT_ACTIVITY, tables.TRENDS, USER_BRANDS, tables.RECOMMENDATIONS)


@pytest.fixture(scope="module")
def shop(spark: SparkSession, new_run: NewSettings) -> Settings:
    """Return a shop in which all layers have run, both streams since, and the speed layer once more."""
    settings = new_run(partitions=2, **SECTIONS)
    send(settings.kafka, random_events(90, 1))
    run_all_jobs(spark, settings)
    send(settings.kafka, random_events(60, 2))
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.speed_stream(spark, settings, available_now=True)
    send(settings.kafka, random_events(30, 3))
    pipelines.speed_stream(spark, settings, available_now=True)
    return settings


@pytest.fixture
def run(shop: Settings, tmp_path: Path) -> Settings:
    """Return that shop with tables of the test's own."""
    shutil.copytree(shop.data_root, tmp_path / "data")
    return shop.model_copy(update={"data_root": str(tmp_path / "data")})


def is_same(spark: SparkSession, settings: Settings) -> bool:
    found = verification.check_identity(spark, settings)
    assert [difference.row_count > 0 for difference in found] == [True, True]
    return all(difference.is_none for difference in found)


def test_the_identity_holds_and_a_wrong_view_is_found(spark: SparkSession, run: Settings) -> None:
    assert is_same(spark, run)
    root = run.data_root
    DeltaTable(tables.path_of(root, PRODUCT_ACTIVITY)).update(
        updates={"view_count": "view_count + 1"}, predicate="product_id = 3"
    )
    DeltaTable(tables.path_of(root, USER_BRANDS)).delete("user_id = 4")
    brands, counts = verification.check_identity(spark, run)
    assert {row["user_id"] for rows in brands.only for row in rows} <= {4}
    assert {row["product_id"] for rows in counts.only for row in rows} <= {3}
    assert not (brands.is_none and counts.is_none)


@pytest.mark.slow
def test_make_identity_exits_with_1_where_a_view_is_wrong(run: Settings) -> None:
    command = ["python", str(PROJECT_ROOT / "jobs" / "identity.py")]
    log = DeltaTable(tables.path_of(run.data_root, RECENT_BRANDS))
    log.update(updates={"user_id": "user_id + 100"}, predicate="user_id = 4")
    said = r"(?s)Recent brands of users: \d+ rows, not all equal.*104.*Counts of products by day: \d+ rows are equal"
    with pytest.raises(AssertionError, match=said):
        run_job(command, run, PROJECT_ROOT)
    # Kept for the page.
    result = read_identity_result(run.local_root)
    assert not result["agrees"]
    assert [part["differences"] > 0 for part in result["parts"]] == [True, False]


def test_without_any_view_there_is_nothing_to_check(spark: SparkSession, new_settings: NewSettings) -> None:
    with pytest.raises(NotComputedError, match="There is no view in"):
        verification.check_identity(spark, new_settings())


def test_a_rebuild_gives_the_same_views_and_mends_wrong_ones(spark: SparkSession, run: Settings) -> None:
    pipelines.ingest_topic(spark, run, available_now=True)
    run_batch_jobs(spark, run)
    before = all_tables(run.data_root)
    DeltaTable(tables.path_of(run.data_root, PRODUCT_ACTIVITY)).update(
        updates={"view_count": "7"}, predicate="product_id = 3"
    )
    DeltaTable(tables.path_of(run.data_root, USER_BRANDS)).delete("user_id = 4")
    DeltaTable(tables.path_of(run.data_root, tables.TRENDS)).delete("rank = 1")
    assert all(difference.is_none for difference in pipelines.rebuild(spark, run))
    assert all_tables(run.data_root) == before


@pytest.mark.slow
def test_a_rebuild_works_while_the_stream_runs_and_the_stream_goes_on_from_its_offsets(
    spark: SparkSession, run: Settings
) -> None:
    send(run.kafka, random_events(120, 3))
    pipelines.ingest_topic(spark, run, available_now=True)
    found = []

    def rebuild_between(*_: object) -> None:
        if not found:
            found.extend(pipelines.rebuild(spark.newSession(), run))

    received = pipelines.speed_stream(spark, run, available_now=True, on_batch=rebuild_between)
    assert received == 120
    assert len(found) == 2
    assert all(difference.is_none for difference in found)
    assert is_same(spark, run)
    assert len(contents(run.data_root, RECENT_BRANDS)) <= 4 * 12


def test_nothing_is_replaced_where_the_new_views_and_the_realtime_view_differ(
    spark: SparkSession, run: Settings
) -> None:
    log = DeltaTable(tables.path_of(run.data_root, RECENT_BRANDS))
    log.update(updates={"user_id": "user_id + 100"}, predicate="user_id = 4")
    before = versions(run.data_root)
    found = pipelines.rebuild(spark, run)
    assert not all(difference.is_none for difference in found)
    assert versions(run.data_root) == before


@pytest.mark.slow
@pytest.mark.fault("a failure between two writes")
def test_a_rebuild_that_dies_leaves_whole_views_and_the_next_one_all_of_them(
    spark: SparkSession, run: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_batch_jobs(spark, run)
    whole = {view.name: contents(run.data_root, view) for view in VIEWS}
    commit, done = commits.commit_staged, []

    def die(*arguments: object) -> None:
        if len(done) == 2:
            raise OSError("pulled the plug")
        commit(*arguments)
        done.append(arguments)

    monkeypatch.setattr(commits, "commit_staged", die)
    with pytest.raises(OSError, match="pulled the plug"):
        pipelines.rebuild(spark, run)
    assert {view.name: contents(run.data_root, view) for view in VIEWS} == whole
    monkeypatch.undo()
    assert is_same(spark, run)


@pytest.mark.slow
def test_the_views_may_all_be_gone(spark: SparkSession, run: Settings) -> None:
    pipelines.ingest_topic(spark, run, available_now=True)
    for view in (PRODUCT_ACTIVITY, tables.TRENDS, USER_BRANDS):
        shutil.rmtree(tables.path_of(run.data_root, view))
    pipelines.rebuild(spark, run)
    assert is_same(spark, run)
