"""Appending to Delta tables, so that every append can be run again: files by Spark's tasks, commits by the driver."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import deltalake
import pyarrow as pa
from deltalake.transaction import AddAction, CommitProperties, RemoveAction, Transaction
from pyspark.sql import DataFrame, Row

from lambda_spark.parquet_files import MakeRows, Target, write_files
from lambda_spark.tables import Table, path_of


def target_of(root: str, table: Table) -> Target:
    """Return what a task has to know to write files of the table."""
    schema = pa.schema(deltalake.DeltaTable(path_of(root, table)).schema().to_arrow())
    return Target(path_of(root, table), schema, table.partitioned_by)


def append_once(
    rows: DataFrame,
    make_rows: MakeRows,
    root: str,
    tables: Sequence[Table],
    application: str,
    number: int,
    lineage: Mapping[str, Any] | None = None,
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
    targets = {place: target_of(root, table) for place, table in enumerate(tables) if not done[place]}
    files = write_files(rows, targets, make_rows).collect()
    told = {"userMetadata": json.dumps(lineage)} if lineage is not None else None
    commit = CommitProperties(told, app_transactions=[Transaction(application, number)])
    for place in targets:
        written = [file for file in files if file.place == place]
        if written or tables[place] == tables[-1]:
            commit_files(logs[place], tables[place], written, commit)
    return True


def commit_files(delta: deltalake.DeltaTable, table: Table, files: Sequence[Row], commit: CommitProperties) -> None:
    """Add written files to the table in one commit."""
    now = time.time_ns() // 1_000_000
    values = [{table.partitioned_by: file.partition_value} if table.partitioned_by else {} for file in files]
    added: list[AddAction | RemoveAction] = [
        AddAction(file.path, file.size, value, now, True, file.stats) for file, value in zip(files, values, strict=True)
    ]
    partitions = [table.partitioned_by] if table.partitioned_by else None
    delta.create_write_transaction(added, "append", delta.schema(), partitions, commit_properties=commit)
