"""Writes to Delta tables that can each be repeated: Spark's tasks write the files, the driver commits them.

Own code, since a commit by Spark's Delta writer takes 0.3 to 0.8 s, however small, and delta-rs replaces rows by a
condition only, for which it reads files.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any, NamedTuple

import deltalake
import pyarrow as pa
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, CommitProperties, RemoveAction, Transaction
from pyarrow.dataset import Dataset
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from lambda_spark.delta.coverage import covers_at_least
from lambda_spark.delta.parquet_files import WINDOW, FileWriter, RowBuilder, Target, conform, open_parquet, write_files
from lambda_spark.delta.tables import (
    Table,
    commit_metadata,
    exists,
    kept_lineage,
    lineage_of,
    open_dataset,
    partition_column,
    path_of,
    require,
)
from lambda_spark.errors import OvertakenError

_log = logging.getLogger(__name__)

Lineage = Mapping[str, Any]

# The partition values whose rows are replaced; None means all rows.
Partitions = Sequence[str | date] | None

# The files that a version of a log adds to an older one are the new events, so a log must never lose any.
_LOG_PROPERTIES = {"delta.appendOnly": "true"}

# Spark's default. With the 100 of delta-rs, a micro-batch would take 15 ms to open each table instead of 3.
_PROPERTIES = {"delta.checkpointInterval": "10"}

_TRIES = 10


class Staged(NamedTuple):
    """Files of a table that no commit has added yet, the partition values they replace, and their lineage."""

    table: Table
    written: Sequence[Row]
    partitions: Partitions
    lineage: Lineage | None

    def paths(self, root: str) -> list[str]:
        """Return the paths of the files."""
        return [f"{path_of(root, self.table)}/{file.path}" for file in self.written]

    def dataset(self, root: str) -> Dataset:
        """Return the rows of the files, with the partition column."""
        schema, column = write_target(root, self.table).schema, self.table.partitioned_by
        values = pa.array([file.partition_value for file in self.written], pa.string())
        return open_parquet(self.paths(root), schema, column, values.cast(schema.field(column).type) if column else ())


def read(spark: SparkSession, root: str, table: Table, version: int | None = None) -> DataFrame:
    """Return the rows of the table, or of a version of it. Raises NotComputedError if it doesn't exist."""
    require(root, table)
    reader = spark.read.format("delta")
    return (reader if version is None else reader.option("versionAsOf", version)).load(path_of(root, table))


def create(spark: SparkSession, root: str, table: Table, lineage: Lineage | None = None) -> None:
    """Create the table with the columns of its contract, unless it exists, and bring an existing one to its layout.

    The first commit records the lineage, if there is one.
    """
    if exists(root, table):
        update_layout(spark, root, table)
        return
    properties = _PROPERTIES | (_LOG_PROPERTIES if table.is_log else {})
    try:
        # A retry would create the table again, over what another job has written to it meanwhile.
        deltalake.DeltaTable.create(
            path_of(root, table),
            _schema(spark, table),
            "ignore",
            table.partitioned_by,
            configuration=properties,
            commit_properties=_properties(lineage, retries=0),
        )
    except CommitFailedError:
        if not exists(root, table):
            raise


def create_all(spark: SparkSession, root: str, tables: Sequence[Table]) -> None:
    """Create those of the tables that don't exist."""
    for table in tables:
        create(spark, root, table)


def update_layout(spark: SparkSession, root: str, table: Table) -> None:
    """Rewrite a table that an earlier version partitioned differently, in one commit; else do nothing."""
    if _has_layout(deltalake.DeltaTable(path_of(root, table)), table):
        return
    _log.warning("Rewriting %s, which an earlier version laid out without partitions.", table.name)
    schema = _schema(spark, table)
    stored = pa.schema([field for field in schema if field.name != WINDOW])

    def rewrite(log: deltalake.DeltaTable) -> None:
        # Another job may have been first.
        if not _has_layout(log, table):
            rows = open_dataset(root, table, log.version(), stored)
            deltalake.write_deltalake(
                log,
                pa.RecordBatchReader.from_batches(schema, _batches(rows, schema)),
                mode="overwrite",
                schema_mode="overwrite",
                partition_by=table.partitioned_by,
                commit_properties=CommitProperties(kept_lineage(root, table), max_commit_retries=0),
            )

    _commit_on_newest(root, table, rewrite)


def _has_layout(log: deltalake.DeltaTable, table: Table) -> bool:
    return partition_column(log) == table.partitioned_by


def _batches(rows: Dataset, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    # By default a dataset reads far ahead.
    for batch in rows.to_batches(batch_readahead=1, fragment_readahead=1):
        yield from conform(pa.Table.from_batches([batch]), schema).to_batches()


def write_target(root: str, table: Table) -> Target:
    """Return what a task needs to write files of the table."""
    return _target(deltalake.DeltaTable(path_of(root, table)), root, table)


def append_once(
    rows: DataFrame,
    build_rows: RowBuilder,
    root: str,
    tables: Sequence[Table],
    application: str,
    number: int,
    lineage: Lineage | None = None,
) -> bool:
    """Append to each table its rows, unless the application has done so under this number or a larger one.

    The last table is committed last, even without new rows: its log shows whether the number is complete. Returns
    False, without reading any row, if it was.
    """
    logs = [deltalake.DeltaTable(path_of(root, table)) for table in tables]
    last = [log.transaction_version(application) for log in logs]
    done = [version is not None and version >= number for version in last]
    if done[-1]:
        return False
    targets = {place: _target(logs[place], root, table) for place, table in enumerate(tables) if not done[place]}
    files = write_files(rows, targets, build_rows).collect()
    commit = _properties(lineage, Transaction(application, number))
    for place in targets:
        written = [file for file in files if file.place == place]
        if written or tables[place] == tables[-1]:
            commit_files(logs[place], tables[place], written, [], commit)
    return True


def replace(
    rows: DataFrame,
    build_rows: RowBuilder,
    root: str,
    table: Table,
    partitions: Partitions,
    lineage: Lineage | None = None,
) -> None:
    """Replace the rows of some partition values, or all, in one commit; create the table if it doesn't exist.

    Raises ValueError if a new row is of another partition value, OvertakenError as `commit_staged` does.
    """
    commit_staged(root, stage(rows, build_rows, root, table, partitions, lineage))


def stage(
    rows: DataFrame,
    build_rows: RowBuilder,
    root: str,
    table: Table,
    partitions: Partitions,
    lineage: Lineage | None = None,
) -> Staged:
    """Write rows to files in the table's folder that no reader sees before `commit_staged`."""
    create(rows.sparkSession, root, table)
    written = write_files(rows, {0: write_target(root, table)}, build_rows).collect()
    return Staged(table, written, partitions, lineage)


def stage_table(
    spark: SparkSession,
    rows: pa.Table,
    root: str,
    table: Table,
    partitions: Partitions,
    lineage: Lineage | None = None,
) -> Staged:
    """Write rows that the driver holds to files in the table's folder that no reader sees before `commit_staged`."""
    create(spark, root, table)
    writer = FileWriter(write_target(root, table))
    writer.write(rows)
    return Staged(table, [Row(**file) for file in writer.finish().to_pylist()], partitions, lineage)


def commit_staged(root: str, staged: Staged) -> None:
    """Replace the files of whole partitions by the staged ones in one commit, by the log alone.

    If another writer commits first, the files to remove are looked up again: the later writer's rows stay. Raises
    ValueError if a staged file is of a partition that isn't replaced, OvertakenError if the stored rows cover messages
    of the topic that the staged ones don't.
    """
    table, partitions = staged.table, staged.partitions
    replaced = None if partitions is None else set(map(str, partitions))
    if replaced is not None and not {file.partition_value for file in staged.written} <= replaced:
        raise ValueError(f"Rows for {table.name} are of other partitions than those replaced: {sorted(replaced)}.")

    def swap(log: deltalake.DeltaTable) -> None:
        if not covers_at_least(staged.lineage, lineage_of(root, table, log.version())):
            raise OvertakenError(
                f"Another run has stored {table.name} of later events meanwhile, which stays: repeat the command to "
                "compute it again."
            )
        files = pa.table(log.get_add_actions(flatten=True)).to_pylist()
        column = f"partition.{table.partitioned_by}"
        removed = [removal_of(file) for file in files if replaced is None or str(file[column]) in replaced]
        commit_files(log, table, staged.written, removed, _properties(staged.lineage, retries=0))

    _commit_on_newest(root, table, swap)


def _commit_on_newest(root: str, table: Table, commit: Callable[[deltalake.DeltaTable], None]) -> None:
    """Call `commit` with the table's newest version, again with a newer one if another writer was first."""
    for _ in range(_TRIES - 1):
        with suppress(CommitFailedError):
            commit(deltalake.DeltaTable(path_of(root, table)))
            return
    commit(deltalake.DeltaTable(path_of(root, table)))


def commit_files(
    log: deltalake.DeltaTable,
    table: Table,
    added: Sequence[Row],
    removed: Sequence[RemoveAction],
    commit: CommitProperties,
    *,
    is_change: bool = True,
) -> None:
    """Add written files to the table and remove others in one commit; without `is_change` it only moves rows."""
    actions: list[AddAction | RemoveAction] = list(removed)
    for file in added:
        value = {table.partitioned_by: file.partition_value} if table.partitioned_by else {}
        actions.append(AddAction(file.path, file.size, value, _now(), is_change, file.stats))
    log.create_write_transaction(actions, "append", log.schema(), table.partitioned_by, commit_properties=commit)


def removal_of(file: Mapping[str, Any], *, is_change: bool = True) -> RemoveAction:
    """Return the action that removes a file, one row of the log's add actions."""
    prefix = "partition."
    values: dict[str, str | None] = {
        name.removeprefix(prefix): str(value) for name, value in file.items() if name.startswith(prefix)
    }
    return RemoveAction(file["path"], is_change, _now(), file["size_bytes"], values)


def _target(log: deltalake.DeltaTable, root: str, table: Table) -> Target:
    return Target(path_of(root, table), pa.schema(log.schema().to_arrow()), table.partitioned_by)


def _schema(spark: SparkSession, table: Table) -> pa.Schema:
    return to_arrow_schema(spark.createDataFrame([], table.columns).schema, timezone="UTC")


def _properties(lineage: Lineage | None, *transactions: Transaction, retries: int | None = None) -> CommitProperties:
    return CommitProperties(commit_metadata(lineage), retries, list(transactions) or None)


def _now() -> int:
    """Return milliseconds since 1970."""
    return time.time_ns() // 1_000_000
