"""The Delta tables: created once, appended to once, replaced by partition, each with the lineage of its rows."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from pyspark.sql import DataFrame, SparkSession

from lambda_spark.delta import commits, tables
from lambda_spark.delta.parquet_files import unchanged_rows
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, USER_BRANDS, Table
from lambda_spark.errors import NotComputedError

LOG = Table("log", "number int, text string", "jobs/none.py", is_log=True)
VIEW = Table("view", "number int, text string", "jobs/none.py")
PARTED = Table("parted", "number int, text string", "jobs/none.py", "number")


def rows(spark: SparkSession, *numbers: int, text: str = "x") -> DataFrame:
    return spark.createDataFrame([(number, text) for number in numbers], LOG.columns)


def append(root: str, rows: DataFrame, application: str, number: int) -> bool:
    return commits.append_once(rows, unchanged_rows, root, [LOG], application, number)


def stored(spark: SparkSession, root: str, table: Table) -> list[tuple[int, str]]:
    return sorted(tuple(row) for row in commits.read(spark, root, table).collect())


def test_a_table_is_overwritten_in_one_commit_with_its_lineage(spark: SparkSession, tmp_path: Path) -> None:
    root = str(tmp_path)
    for text in ("old", "new"):
        commits.replace(rows(spark, 1, 2, text=text), unchanged_rows, root, VIEW, None, {"made of": text})
        assert stored(spark, root, VIEW) == [(1, text), (2, text)]
        assert tables.lineage_of(root, VIEW) == {"made of": text}
    commits.replace(rows(spark), unchanged_rows, root, VIEW, None, {})
    assert stored(spark, root, VIEW) == []
    assert tables.version_of(root, VIEW) == 3
    lineages = [tables.lineage_of(root, VIEW, version) for version in range(4)]
    assert lineages == [None, {"made of": "old"}, {"made of": "new"}, {}]


def test_a_table_has_the_columns_of_its_contract_before_its_first_row(spark: SparkSession, tmp_path: Path) -> None:
    commits.create(spark, tmp_path, EVENTS)
    commits.create(spark, tmp_path, EVENTS)
    made = DeltaTable(tmp_path / "events")
    assert made.version() == 0
    assert made.metadata().partition_columns == ["event_date"]
    assert made.metadata().configuration["delta.appendOnly"] == "true"
    wanted = spark.createDataFrame([], EVENTS.columns).schema
    assert commits.read(spark, tmp_path, EVENTS).schema == wanted


def test_a_table_that_is_missing_is_an_error_that_names_the_job_which_makes_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    with pytest.raises(NotComputedError, match=r"no table .*user_brands yet: run jobs/batch_brands\.py first"):
        commits.read(spark, tmp_path, USER_BRANDS)
    assert tables.lineage_of(tmp_path, USER_BRANDS) is None
    assert not tables.exists(tmp_path, RECENT_BRANDS)


def test_the_same_number_is_appended_once_for_each_application(spark: SparkSession, tmp_path: Path) -> None:
    commits.create(spark, tmp_path, LOG)
    assert append(tmp_path, rows(spark, 1, 2), "one", 0)
    assert not append(tmp_path, rows(spark, 1, 2), "one", 0)
    assert append(tmp_path, rows(spark), "one", 1)
    assert not append(tmp_path, rows(spark, 9), "one", 0)
    assert append(tmp_path, rows(spark, 3), "other", 0)
    assert append(tmp_path, rows(spark, 4), "one", 2)
    assert stored(spark, tmp_path, LOG) == [(1, "x"), (2, "x"), (3, "x"), (4, "x")]
    assert tables.version_of(tmp_path, LOG) == 4
    assert commits.read(spark, tmp_path, LOG, version=1).count() == 2


def test_a_log_refuses_to_lose_rows(spark: SparkSession, tmp_path: Path) -> None:
    commits.create(spark, tmp_path, LOG)
    append(tmp_path, rows(spark, 1), "one", 0)
    with pytest.raises(CommitFailedError, match="append-only"):
        commits.replace(rows(spark), unchanged_rows, tmp_path, LOG, None)
    assert stored(spark, tmp_path, LOG) == [(1, "x")]


def test_only_the_named_partitions_are_replaced_and_no_file_is_opened(spark: SparkSession, tmp_path: Path) -> None:
    root = str(tmp_path)
    commits.replace(rows(spark, 1, 2, 3), unchanged_rows, root, PARTED, None, {"from": 7})
    # Were they opened, this would fail.
    for path in tables.paths_of(root, PARTED):
        Path(path).write_bytes(b"")
    commits.replace(rows(spark, 3, text="new"), unchanged_rows, root, PARTED, ["2", "3"])
    left = tables.files_of(root, PARTED)
    assert sorted(zip(left["partition.number"].to_pylist(), left["num_records"].to_pylist(), strict=True)) == [
        (1, 1),
        (3, 1),
    ]
    assert tables.lineage_of(root, PARTED) == {"from": 7}
    removed = [action["remove"] for action in tables.commit_of(root, PARTED, 2) or [] if "remove" in action]
    assert sorted(action["partitionValues"]["number"] for action in removed) == ["2", "3"]


def test_rows_of_another_partition_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    root = str(tmp_path)
    commits.replace(rows(spark, 1, 2), unchanged_rows, root, PARTED, None)
    with pytest.raises(ValueError, match=r"parted are of other partitions than those replaced: \['2', '3'\]"):
        commits.replace(rows(spark, 1, 2, text="new"), unchanged_rows, root, PARTED, ["2", "3"])
    assert stored(spark, root, PARTED) == [(1, "x"), (2, "x")]


def test_of_writers_at_once_each_replaces_the_rows_of_the_one_before(spark: SparkSession, tmp_path: Path) -> None:
    root = str(tmp_path)
    commits.replace(rows(spark, 1, 2), unchanged_rows, root, PARTED, None)

    def write(writer: int) -> None:
        numbers = pa.array([2, 3], pa.int32())
        few = pa.table({"number": numbers, "text": [str(writer)] * 2})
        commits.commit_staged(root, commits.stage_table(spark, few, root, PARTED, ["2", "3"]))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(6)))
    left = stored(spark, root, PARTED)
    assert left == [(1, "x"), (2, left[-1][1]), (3, left[-1][1])]
    assert tables.version_of(root, PARTED) == 1 + 6


def test_the_newest_lineage_counts(spark: SparkSession, tmp_path: Path) -> None:
    commits.create(spark, tmp_path, VIEW)
    assert tables.lineage_of(tmp_path, VIEW) is None
    for version in (1, 2):
        commits.replace(rows(spark, 1), unchanged_rows, tmp_path, VIEW, None, {"version": version, "rule": ["ä"]})
    assert tables.lineage_of(tmp_path, VIEW) == {"version": 2, "rule": ["ä"]}
