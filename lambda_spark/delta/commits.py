"""The Delta tables as Spark needs them: made with the columns of their contract, and read as DataFrames.

Writes to Delta tables that can each be run again: files written by Spark's tasks, committed by the driver.

Spark's own writer of Delta takes 0.3 to 0.8 s for a commit, however small, and seconds for the first of a process.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import deltalake
import pyarrow as pa
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, CommitProperties, RemoveAction, Transaction
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema

from lambda_spark import engine
from lambda_spark.delta.coverage import covers_as_much
from lambda_spark.delta.parquet_files import FileWriter, RowBuilder, Target, open_parquet, write_files
from lambda_spark.delta.tables import Table, commit_metadata, exists, lineage_of, path_of, require
from lambda_spark.errors import OvertakenError

# A log is only appended to, so that the files which a version has and an older one has not tell what is new.
_LOG_PROPERTIES = {"delta.appendOnly": "true"}

# As Spark has it. With the 100 of delta-rs, a micro-batch would open its tables in 15 ms each instead of 3.
_PROPERTIES = {"delta.checkpointInterval": "10"}


def create(spark: SparkSession, root: str, table: Table, lineage: Mapping[str, Any] | None = None) -> None:
    """Make the table where there is none, so that its columns are the contract's and not the first writer's.

    Its first commit tells the lineage, if there is one.
    """
    if exists(root, table):
        return
    schema = to_arrow_schema(spark.createDataFrame([], table.columns).schema, timezone="UTC")
    properties = _PROPERTIES | (_LOG_PROPERTIES if table.is_log else {})
    try:
        # Tried again, it would make the table once more, over what another job has made of it meanwhile.
        deltalake.DeltaTable.create(
            path_of(root, table),
            schema,
            "ignore",
            table.partitioned_by,
            configuration=properties,
            commit_properties=CommitProperties(commit_metadata(lineage), max_commit_retries=0),
        )
    except CommitFailedError:
        if not exists(root, table):
            raise


def create_all(spark: SparkSession, root: str, tables: Sequence[Table]) -> None:
    """Make those of the tables that are not there."""
    for table in tables:
        create(spark, root, table)


def read(spark: SparkSession, root: str, table: Table, version: int | None = None) -> DataFrame:
    """Read the table, or a version of it. Raises NotComputedError where it has not been made."""
    require(root, table)
    reader = spark.read.format("delta")
    return (reader if version is None else reader.option("versionAsOf", version)).load(path_of(root, table))


Lineage = Mapping[str, Any]
_TRIES = 10


class Staged(NamedTuple):
    """Files of a table that are in no commit yet, the condition of the rows they replace, and what they come from."""

    table: Table
    written: Sequence[Row]
    where: str
    lineage: Lineage | None

    def paths(self, root: str) -> list[str]:
        """Return where the files are."""
        return [f"{path_of(root, self.table)}/{file.path}" for file in self.written]


def write_target(root: str, table: Table) -> Target:
    """Return what a task has to know to write files of the table."""
    return _target(deltalake.DeltaTable(path_of(root, table)), root, table)


def _target(log: deltalake.DeltaTable, root: str, table: Table) -> Target:
    return Target(path_of(root, table), pa.schema(log.schema().to_arrow()), table.partitioned_by)


def append_once(
    rows: DataFrame,
    make_rows: RowBuilder,
    root: str,
    tables: Sequence[Table],
    application: str,
    number: int,
    lineage: Lineage | None = None,
) -> bool:
    """Append to the tables what is made of the rows, unless the application has done so under this number, or a larger.

    The last table is committed last, empty or not, so that its log says whether all is done. Returns whether anything
    was to do; else nothing has been read.
    """
    logs = [deltalake.DeltaTable(path_of(root, table)) for table in tables]
    last = [log.transaction_version(application) for log in logs]
    done = [version is not None and version >= number for version in last]
    if done[-1]:
        return False
    targets = {place: _target(logs[place], root, table) for place, table in enumerate(tables) if not done[place]}
    files = write_files(rows, targets, make_rows).collect()
    commit = _properties(lineage, Transaction(application, number))
    for place in targets:
        written = [file for file in files if file.place == place]
        if written or tables[place] == tables[-1]:
            commit_files(logs[place], tables[place], written, [], commit)
    return True


def replace(
    rows: DataFrame, make_rows: RowBuilder, root: str, table: Table, where: str, lineage: Lineage | None = None
) -> None:
    """Put what is made of the rows in the place of the rows that meet the SQL condition; all of it has to meet it.

    Makes the table where there is none.
    """
    commit_staged(root, stage(rows, make_rows, root, table, where, lineage))


def stage(
    rows: DataFrame, make_rows: RowBuilder, root: str, table: Table, where: str, lineage: Lineage | None = None
) -> Staged:
    """Write what is made of the rows beside the table's own files, where no reader sees it before it is swapped in."""
    create(rows.sparkSession, root, table)
    written = write_files(rows, {0: write_target(root, table)}, make_rows).collect()
    return Staged(table, written, where, lineage)


def stage_table(
    spark: SparkSession, rows: pa.Table, root: str, table: Table, where: str, lineage: Lineage | None = None
) -> Staged:
    """Do the same with rows that the driver has."""
    create(spark, root, table)
    writer = FileWriter(write_target(root, table))
    writer.write(rows)
    return Staged(table, _rows(writer.finish()), where, lineage)


def commit_staged(root: str, staged: Staged) -> None:
    """Put staged files in the place of the rows that they replace, in one commit.

    Raises OvertakenError where the present rows cover messages of the topic that these do not.
    """
    table, where = staged.table, staged.where
    if any(_count(root, table, file.path, where) < json.loads(file.stats)["numRecords"] for file in staged.written):
        raise ValueError(f"Rows for {table.name} are not of those to be replaced, which are: {where}.")
    _commit_replacement(root, staged, _TRIES)


def _commit_replacement(root: str, staged: Staged, tries: int) -> None:
    """Commit the files together with the removal of the rows that meet the condition; what is beside them is kept.

    Where another writer was first, what is to be removed is looked for again: the later one stays.
    """
    table, where = staged.table, staged.where
    delta, rest = deltalake.DeltaTable(path_of(root, table)), FileWriter(write_target(root, table))
    if not covers_as_much(staged.lineage, lineage_of(root, table, delta.version())):
        raise OvertakenError(
            f"Another run has stored {table.name} of later events meanwhile, which stays: repeat the command to "
            "compute it anew."
        )
    removed = []
    for file in pa.table(delta.get_add_actions(flatten=True)).to_pylist():
        count = _count(root, table, file["path"], where)
        if count:
            removed.append(removal_of(file))
        if 0 < count < file["num_records"]:
            rest.write(_select("*", root, table, file["path"], f"({where}) IS NOT TRUE"))
    try:
        # Not on top of what others commit meanwhile, as delta-rs would try.
        commit = _properties(staged.lineage, retries=0)
        commit_files(delta, table, [*staged.written, *_rows(rest.finish())], removed, commit)
    except CommitFailedError:
        if tries == 1:
            raise
        _commit_replacement(root, staged, tries - 1)


def commit_files(
    delta: deltalake.DeltaTable,
    table: Table,
    added: Sequence[Row],
    removed: Sequence[RemoveAction],
    commit: CommitProperties,
    *,
    is_change: bool = True,
) -> None:
    """Add written files to the table, and remove others, in one commit; without `is_change` it only moves rows."""
    actions: list[AddAction | RemoveAction] = list(removed)
    for file in added:
        value = {table.partitioned_by: file.partition_value} if table.partitioned_by else {}
        actions.append(AddAction(file.path, file.size, value, _now(), is_change, file.stats))
    partitions = [table.partitioned_by] if table.partitioned_by else None
    delta.create_write_transaction(actions, "append", delta.schema(), partitions, commit_properties=commit)


def removal_of(file: Mapping[str, Any], *, is_change: bool = True) -> RemoveAction:
    """Return what removes a file that the log tells of."""
    return RemoveAction(file["path"], is_change, _now(), file["size_bytes"], {})


def _properties(lineage: Lineage | None, *transactions: Transaction, retries: int | None = None) -> CommitProperties:
    return CommitProperties(commit_metadata(lineage), retries, list(transactions) or None)


def _rows(written: pa.RecordBatch) -> list[Row]:
    return [Row(**file) for file in written.to_pylist()]


def _now() -> int:
    """Return the time as Delta's log wants it, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _count(root: str, table: Table, path: str, where: str) -> int:
    (count,) = _select("count(*)", root, table, path, where)[0].to_pylist()
    return int(count)


def _select(what: str, root: str, table: Table, path: str, where: str) -> pa.Table:
    """Ask a file of the table; DuckDB passes over what cannot meet the condition."""
    rows = open_parquet([f"{path_of(root, table)}/{path}"])
    return engine.query(f"SELECT {what} FROM rows WHERE {where}", rows=rows)
