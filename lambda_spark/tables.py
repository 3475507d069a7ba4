"""The Delta tables by name under one root: made, read, and written so that every write can be run again."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import deltalake
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from lambda_spark import schemas
from lambda_spark.errors import NotComputedError


@dataclass(frozen=True)
class Table:
    """A table's contract: its name, its columns as DDL, the job that writes it."""

    name: str
    columns: str
    written_by: str
    partitioned_by: tuple[str, ...] = ()
    is_log: bool = False


EVENTS = Table("events", schemas.EVENTS, "jobs/ingest_events.py", ("event_date",), is_log=True)
REJECTED_EVENTS = Table("rejected_events", schemas.REJECTED_EVENTS, "jobs/ingest_events.py", is_log=True)
PRODUCT_ACTIVITY = Table("product_activity", schemas.PRODUCT_ACTIVITY, "jobs/batch_trends.py")
TRENDS = Table("trends", schemas.TRENDS, "jobs/batch_trends.py")
USER_BRANDS = Table("user_brands", schemas.USER_BRANDS, "jobs/batch_brands.py")
RECENT_BRANDS = Table("recent_brands", schemas.RECENT_BRANDS, "jobs/speed_stream.py")
RECOMMENDATIONS = Table("recommendations", schemas.RECOMMENDATIONS, "jobs/recommend.py")

# A log is only appended to, and its change feed (which costs nothing then) tells batch jobs what is new.
_LOG_PROPERTIES = {"delta.appendOnly": "true", "delta.enableChangeDataFeed": "true"}


def path_of(root: Path, table: Table) -> str:
    """Return where the table is."""
    return str(root / table.name)


def exists(root: Path, table: Table) -> bool:
    """Say whether the table has been made."""
    return deltalake.DeltaTable.is_deltatable(path_of(root, table))


def create(spark: SparkSession, root: Path, table: Table) -> None:
    """Make the table where there is none, so that its columns are the contract's and not the first writer's."""
    if exists(root, table):
        return
    columns = spark.createDataFrame([], table.columns).schema
    builder = DeltaTable.createIfNotExists(spark).location(path_of(root, table)).addColumns(columns)
    builder = builder.partitionedBy(*table.partitioned_by) if table.partitioned_by else builder
    for key, value in _LOG_PROPERTIES.items() if table.is_log else ():
        builder = builder.property(key, value)
    builder.execute()


def read(spark: SparkSession, root: Path, table: Table, version: int | None = None) -> DataFrame:
    """Read the table, or a version of it. Raises NotComputedError where it has not been made."""
    if not exists(root, table):
        raise NotComputedError(f"There is no table {path_of(root, table)} yet: run {table.written_by} first.")
    reader = spark.read.format("delta")
    return (reader if version is None else reader.option("versionAsOf", version)).load(path_of(root, table))


def version_of(root: Path, table: Table) -> int:
    """Return the table's present version."""
    return deltalake.DeltaTable(path_of(root, table), without_files=True).version()


def read_changes(spark: SparkSession, root: Path, log: Table, after: int, until: int) -> DataFrame:
    """Read the rows that were appended to a log after one version, up to and with another."""
    reader = spark.read.format("delta").option("readChangeFeed", "true")
    changes = reader.option("startingVersion", after + 1).option("endingVersion", until).load(path_of(root, log))
    return changes.drop("_change_type", "_commit_version", "_commit_timestamp")


def append_once(rows: DataFrame, root: Path, table: Table, application: str, number: int) -> int | None:
    """Append the rows, unless the application has appended under this number (or a larger one) before.

    Returns the number of rows, or None where they were there already.
    """
    before = version_of(root, table)
    if table.partitioned_by:
        # Else every task writes a file for every partition: that doubles the cost of a batch that spans a month.
        tasks = int(str(rows.sparkSession.conf.get("spark.sql.shuffle.partitions")))
        rows = rows.repartition(tasks, *table.partitioned_by)
    writer = rows.write.format("delta").mode("append").option("txnAppId", application).option("txnVersion", number)
    writer.save(path_of(root, table))
    commits = deltalake.DeltaTable(path_of(root, table)).history(version_of(root, table) - before)
    mine = [commit for commit in commits if commit["operation"] == "WRITE"]
    return int(mine[0]["operationMetrics"]["numOutputRows"]) if mine else None


def replace(rows: DataFrame, root: Path, table: Table, where: str, lineage: Mapping[str, Any] | None = None) -> None:
    """Replace the rows that meet the condition; all of `rows` must meet it. Makes the table where there is none."""
    create(rows.sparkSession, root, table)
    writer = rows.write.format("delta").mode("overwrite").option("replaceWhere", where)
    if lineage is not None:
        writer = writer.option("userMetadata", json.dumps(lineage))
    writer.save(path_of(root, table))


def lineage_of(root: Path, table: Table) -> dict[str, Any] | None:
    """Return what the view was last computed from, as `replace` was told, or None where that is not known."""
    if not exists(root, table):
        return None
    return next(_lineages(root, table), None)


def _lineages(root: Path, table: Table) -> Iterator[dict[str, Any]]:
    for commit in deltalake.DeltaTable(path_of(root, table), without_files=True).history():
        if "userMetadata" in commit:
            yield json.loads(commit["userMetadata"])
