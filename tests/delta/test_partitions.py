"""Partitioned tables: the text of a window, reading without Spark, and tables as an earlier version laid them out."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from deltalake.transaction import CommitProperties
from helpers import contents
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from lambda_spark import engine, schemas
from lambda_spark.batch.trends import best_trends, stored_trends
from lambda_spark.delta import commits, tables
from lambda_spark.delta.parquet_files import window_key, with_window
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY, RECOMMENDATIONS, TRENDS, Table, path_of
from lambda_spark.time_ranges import MICROSECOND, Request, TimeRange

MIDNIGHT = datetime(2019, 11, 24, tzinfo=timezone.utc)
NOON = MIDNIGHT + timedelta(hours=12)
WEEK = TimeRange(MIDNIGHT, MIDNIGHT + timedelta(days=7))
HALF_DAY = TimeRange(MIDNIGHT, NOON)
DAYS = [date(2020, 3, day) for day in (1, 2, 3)]

# The rows of each view as its rule makes them, by the values that differ, and their partition values.
ROWS: dict[Table, tuple[str, list[dict[str, Any]], list[str]]] = {
    PRODUCT_ACTIVITY: (
        schemas.PRODUCT_ACTIVITY,
        [{"event_date": day, "product_id": number, "brand": "ä"} for day in DAYS for number in (1, 2)],
        [str(day) for day in DAYS],
    ),
    TRENDS: (
        schemas.TRENDS,
        [
            {"window_from": start, "window_to": end, "bucket": bucket, "rank": rank, "product_id": rank + 10}
            | {"buckets": [{"bucket_at": start, "event_count": 2.0}]}
            for (start, end), bucket in ((WEEK, "day"), (HALF_DAY, "10 minutes"))
            for rank in (1, 2, 3)
        ],
        ["2019-11-24_2019-12-01_day", "20191124T000000Z_20191124T120000Z_10-minutes"],
    ),
    RECOMMENDATIONS: (
        schemas.RECOMMENDATIONS,
        [
            {"window_from": start, "window_to": end, "user_id": user, "rank": 1, "product_id": user}
            for start, end in (WEEK, HALF_DAY)
            for user in (1, 2)
        ],
        ["2019-11-24_2019-12-01", "20191124T000000Z_20191124T120000Z"],
    ),
}
VIEWS = pytest.mark.parametrize("view", ROWS, ids=lambda view: view.name)


def rows_of(spark: SparkSession, view: Table) -> pa.Table:
    columns, rows, _ = ROWS[view]
    return pa.Table.from_pylist(rows, spark.createDataFrame([], columns).toArrow().schema)


def store_as_before(spark: SparkSession, root: str, view: Table) -> pa.Table:
    """Write the rows as an earlier version did: without partitions or `window`, in two commits with a lineage each."""
    rows = rows_of(spark, view)
    for number, part in enumerate((rows.slice(0, 3), rows.slice(3))):
        commit = CommitProperties({"userMetadata": json.dumps({"number": number})})
        deltalake.write_deltalake(path_of(root, view), part, mode="append", commit_properties=commit)
    return rows


def same(one: pa.Table, other: pa.Table) -> bool:
    return sorted(map(str, one.to_pylist())) == sorted(map(str, other.to_pylist()))


def window_column(windows: list[tuple[TimeRange, str]]) -> list[str]:
    rows = [{"window_from": window.start, "window_to": window.end, "bucket": bucket} for window, bucket in windows]
    instant = pa.timestamp("us", "UTC")
    schema = pa.schema({"window_from": instant, "window_to": instant, "bucket": pa.string()})
    found: list[str] = with_window(pa.Table.from_pylist(rows, schema))["window"].to_pylist()
    return found


@pytest.mark.parametrize(
    ("window", "bucket", "key"),
    [
        (WEEK, None, "2019-11-24_2019-12-01"),
        (WEEK, "day", "2019-11-24_2019-12-01_day"),
        (HALF_DAY, "10 minutes", "20191124T000000Z_20191124T120000Z_10-minutes"),
        (TimeRange(NOON, NOON + MICROSECOND), None, "20191124T120000Z_20191124T120000.000001Z"),
        (TimeRange(*(end.astimezone(timezone(timedelta(hours=5))) for end in WEEK)), None, "2019-11-24_2019-12-01"),
    ],
)
def test_a_window_has_a_text_that_any_folder_may_have(window: TimeRange, bucket: str | None, key: str) -> None:
    assert window_key(window, bucket) == key


_INSTANTS = st.datetimes(datetime(1900, 1, 1), datetime(2199, 1, 1), timezones=st.just(timezone.utc))
_WINDOWS = st.tuples(st.builds(TimeRange, _INSTANTS, _INSTANTS), st.sampled_from(["day", "hour", "10 minutes"]))


@given(st.lists(_WINDOWS, min_size=1, max_size=5, unique=True))
def test_each_row_gets_the_text_of_its_window_and_no_two_windows_the_same(windows: list[tuple[TimeRange, str]]) -> None:
    keys = window_column([*windows, *windows])
    assert keys == [window_key(*window) for window in windows] * 2
    assert len(set(keys)) == len(windows)


@VIEWS
def test_the_partition_column_is_read_and_filters_skip_files(spark: SparkSession, tmp_path: Path, view: Table) -> None:
    root, rows, (_, _, values) = str(tmp_path), rows_of(spark, view), ROWS[view]
    staged = commits.stage_table(spark, rows, root, view, values)
    assert same(staged.dataset(root).to_table(rows.column_names), rows)
    assert not len(tables.open_dataset(root, view).to_table())
    commits.commit_staged(root, staged)
    stored = tables.open_dataset(root, view)
    assert same(stored.to_table(rows.column_names), rows)
    assert same(commits.read(spark, root, view).select(rows.column_names).toArrow(), rows)
    column = str(view.partitioned_by)
    is_first = pc.field(column).cast(pa.string()) == values[0]
    assert stored.to_table([column], filter=is_first)[column].cast(pa.string()).unique().to_pylist() == [values[0]]
    value = pa.scalar(values[0]).cast(stored.schema.field(column).type)
    assert len(list(stored.get_fragments(pc.field(column) == value))) == 1
    sql = f"SELECT count(*) AS n FROM stored WHERE \"{column}\" = '{values[0]}'"
    assert engine.run_sql(engine.connect().cursor(), sql, stored=stored)["n"].to_pylist() == [len(rows) // len(values)]


def test_events_are_read_with_their_day(spark: SparkSession, tmp_path: Path) -> None:
    root = str(tmp_path)
    commits.create(spark, root, EVENTS)
    schema = commits.write_target(root, EVENTS).schema
    rows = pa.Table.from_pylist([{"event_date": day, "user_id": day.day} for day in DAYS], schema)
    deltalake.write_deltalake(path_of(root, EVENTS), rows, mode="append")
    assert same(tables.open_dataset(root, EVENTS).to_table(), rows)


@VIEWS
def test_a_table_of_an_earlier_version_is_read_as_it_is(spark: SparkSession, tmp_path: Path, view: Table) -> None:
    root = str(tmp_path)
    rows = store_as_before(spark, root, view)
    assert same(tables.open_dataset(root, view).to_table(), rows)
    assert same(commits.read(spark, root, view).toArrow(), rows)
    if view == TRENDS:
        request = Request(WEEK, "day")
        assert [row.product_id for row in best_trends(root, request, 2)] == [11, 12]
        assert stored_trends(spark, root, request).count() == 3


@VIEWS
def test_it_is_rewritten_in_one_commit_that_keeps_its_lineage(
    spark: SparkSession, tmp_path: Path, view: Table, caplog: pytest.LogCaptureFixture
) -> None:
    root = str(tmp_path)
    rows = store_as_before(spark, root, view)
    for _ in range(2):
        commits.create(spark, root, view)
        assert tables.version_of(root, view) == 2
    assert caplog.messages == [f"Rewriting {view.name}, which an earlier version laid out without partitions."]
    assert same(tables.open_dataset(root, view).to_table(rows.column_names), rows)
    assert same(commits.read(spark, root, view).select(rows.column_names).toArrow(), rows)
    files = tables.files_of(root, view)
    assert sorted(map(str, files[f"partition.{view.partitioned_by}"].to_pylist())) == sorted(ROWS[view][2])
    contract = spark.createDataFrame([], view.columns)
    assert commits.read(spark, root, view).schema == contract.schema
    assert tables.lineage_of(root, view) == {"number": 1}
    # Also once the log no longer has the commits of the earlier version.
    DeltaTable(path_of(root, view)).create_checkpoint()
    for version in range(2):
        (tmp_path / view.name / "_delta_log" / f"{version:020}.json").unlink()
    assert tables.lineage_of(root, view) == {"number": 1}


def test_a_replacement_rewrites_it_first(spark: SparkSession, tmp_path: Path) -> None:
    root, (_, _, (week, half_day)) = str(tmp_path), ROWS[TRENDS]
    rows = store_as_before(spark, root, TRENDS)
    staged = commits.stage_table(spark, rows.slice(0, 1), root, TRENDS, [week])
    commits.commit_staged(root, staged)
    stored = tables.read_arrow(root, TRENDS, ["window", "rank"]).to_pylist()
    assert sorted((row["window"], row["rank"]) for row in stored) == [(week, 1), *((half_day, n) for n in (1, 2, 3))]


def test_a_table_without_rows_is_rewritten_too(spark: SparkSession, tmp_path: Path) -> None:
    root = str(tmp_path)
    DeltaTable.create(path_of(root, TRENDS), rows_of(spark, TRENDS).schema)
    commits.create(spark, root, TRENDS)
    assert DeltaTable(path_of(root, TRENDS)).metadata().partition_columns == ["window"]
    assert not contents(root, TRENDS)


@pytest.mark.fault("a table of an earlier version whose rewriting dies, or happens twice at once")
def test_one_that_dies_while_it_is_rewritten_stays_as_it_was(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path)
    rows = store_as_before(spark, root, TRENDS)
    batches = commits._batches

    def die(*arguments: Any) -> Iterator[pa.RecordBatch]:
        yield next(batches(*arguments))
        raise OSError("pulled the plug")

    monkeypatch.setattr(commits, "_batches", die)
    with pytest.raises(Exception, match="pulled the plug"):
        commits.create(spark, root, TRENDS)
    monkeypatch.undo()
    assert tables.version_of(root, TRENDS) == 1
    assert same(tables.open_dataset(root, TRENDS).to_table(), rows)
    commits.create(spark, root, TRENDS)
    assert same(tables.open_dataset(root, TRENDS).to_table(rows.column_names), rows)


@pytest.mark.fault("a table of an earlier version whose rewriting dies, or happens twice at once")
def test_jobs_that_rewrite_it_at_once_keep_every_row_once(spark: SparkSession, tmp_path: Path) -> None:
    for number in range(5):
        root = str(tmp_path / str(number))
        rows = store_as_before(spark, root, RECOMMENDATIONS)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _, root=root: commits.create(spark, root, RECOMMENDATIONS), range(4)))
        assert tables.version_of(root, RECOMMENDATIONS) == 2
        assert same(tables.open_dataset(root, RECOMMENDATIONS).to_table(rows.column_names), rows)
