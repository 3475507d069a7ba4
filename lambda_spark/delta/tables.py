"""The Delta tables under one data root: their contracts, and how to read them without Spark.

Commits are read with own code, since `DeltaTable.history` reads a given number of them, without their files, while a
lineage may be any number of commits back.
"""

import json
from collections import namedtuple
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import deltalake
import pyarrow as pa
from pyarrow.dataset import Dataset

from lambda_spark import schemas
from lambda_spark.delta.parquet_files import open_parquet
from lambda_spark.delta.storage import is_file, read_file
from lambda_spark.errors import NotComputedError
from lambda_spark.schemas import Row


@dataclass(frozen=True)
class Table:
    """The contract of a table: its name, columns as DDL, writing job and partition column; logs only grow."""

    name: str
    columns: str
    written_by: str
    partitioned_by: str | None = None
    is_log: bool = False


EVENTS = Table("events", schemas.EVENTS, "jobs/ingest_events.py", "event_date", is_log=True)
REJECTED_EVENTS = Table("rejected_events", schemas.REJECTED_EVENTS, "jobs/ingest_events.py", is_log=True)

# In the order in which jobs/ingest_events.py commits them: the log of `events` shows how far the topic is stored.
MASTER_DATASET = (REJECTED_EVENTS, EVENTS)
REPLAYED_REJECTS = Table("replayed_rejects", schemas.REPLAYED_REJECTS, "jobs/replay_rejects.py", is_log=True)
PRODUCT_ACTIVITY = Table("product_activity", schemas.PRODUCT_ACTIVITY, "jobs/batch_trends.py", "event_date")
TRENDS = Table("trends", f"{schemas.WINDOW}, {schemas.TRENDS}", "jobs/batch_trends.py", "window")
USER_BRANDS = Table("user_brands", schemas.USER_BRANDS, "jobs/batch_brands.py")
RECENT_BRANDS = Table("recent_brands", schemas.RECENT_BRANDS, "jobs/speed_stream.py")
RECOMMENDATIONS = Table(
    "recommendations", f"{schemas.WINDOW}, {schemas.RECOMMENDATIONS}", "jobs/recommend.py", "window"
)

# The keys of a commit's metadata: the lineage of its version, and the lineage that OPTIMIZE, VACUUM or a change of
# the layout keeps.
_LINEAGE, _KEPT_LINEAGE = "userMetadata", "keptMetadata"

# The key of a lineage: the partition values of the windows that it is of.
WINDOWS = "windows"


def path_of(root: str, table: Table) -> str:
    """Return the table's path or URI."""
    return f"{root}/{table.name}"


def exists(root: str, table: Table) -> bool:
    """Return True if the table has been created."""
    return deltalake.DeltaTable.is_deltatable(path_of(root, table))


def require(root: str, table: Table) -> None:
    """Raise NotComputedError if the table doesn't exist."""
    if not exists(root, table):
        raise NotComputedError(f"There is no table {path_of(root, table)} yet: run {table.written_by} first.")


def version_of(root: str, table: Table) -> int:
    """Return the table's current version."""
    return deltalake.DeltaTable(path_of(root, table)).version()


def find_version(root: str, table: Table) -> int | None:
    """Return the table's current version; None if it doesn't exist."""
    return version_of(root, table) if exists(root, table) else None


def has_version(root: str, table: Table, version: int) -> bool:
    """Return True if the log still has the commit of that version."""
    return is_file(_commit_path(root, table, version))


def files_of(root: str, table: Table, version: int | None = None) -> pa.Table:
    """Return the files of the table, or of a version, with partition values and statistics. One row per file."""
    return _files(deltalake.DeltaTable(path_of(root, table), version))


def paths_of(root: str, table: Table, version: int | None = None) -> list[str]:
    """Return the paths of the table's files, or of a version's."""
    return _paths(root, table, files_of(root, table, version))


def partition_column(log: deltalake.DeltaTable) -> str | None:
    """Return the column that the table is partitioned by, which for one of an earlier version isn't the contract's."""
    return next(iter(log.metadata().partition_columns), None)


def open_dataset(root: str, table: Table, version: int | None = None, schema: pa.Schema | None = None) -> Dataset:
    """Return the rows of the table, or of a version, read without Spark as far as a query needs them.

    With a schema its columns, of which those that the table lacks are NULL.
    """
    log = deltalake.DeltaTable(path_of(root, table), version)
    files, column = _files(log), partition_column(log)
    # Not deltalake's own dataset: it skips all files whose statistics lack a text column that is filtered by.
    schema = schema or pa.schema(log.schema().to_arrow())
    values = files[f"partition.{column}"] if column and len(files) else ()
    return open_parquet(_paths(root, table, files), schema, column, values)


def read_arrow(root: str, table: Table, columns: Sequence[str]) -> pa.Table:
    """Return columns of the table, read without Spark."""
    return open_dataset(root, table).to_table(list(columns))


def query(root: str, table: Table, sql: str) -> list[Row]:
    """Return the few rows of an SQL query over the table, by its name, without Spark, whose first query takes seconds.

    Raises NotComputedError if the table doesn't exist.
    """
    require(root, table)
    builder = deltalake.QueryBuilder().register(table.name, deltalake.DeltaTable(path_of(root, table)))
    return [_as_row(row) for row in pa.table(builder.execute(sql)).to_pylist()]


def lineage_of(root: str, table: Table, version: int | None = None) -> dict[str, Any] | None:
    """Return what the table, or a version of it, was last computed from, by its writer's commit; None if none says."""
    return next(lineages_of(root, table, version), None)


def lineages_of(root: str, table: Table, version: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the lineage of each version, from the newest or a given one back to the log's first.

    Last comes the one that OPTIMIZE kept, in case the log no longer has the commit that recorded it.
    """
    if not exists(root, table):
        return
    newest, kept = version_of(root, table) if version is None else version, None
    for number in range(newest, -1, -1):
        commit = commit_of(root, table, number)
        if commit is None:
            break
        if (lineage := commit_lineage(commit)) is not None:
            yield lineage
        kept = kept or commit_lineage(commit, _KEPT_LINEAGE)
    if kept is not None:
        yield kept


def window_lineages(
    root: str, table: Table, keys: Collection[str], version: int | None = None
) -> dict[str, dict[str, Any]]:
    """Return, per window, the lineage of the newest commit that names it; windows that no commit names are missing."""
    missing = set(keys)
    found: dict[str, dict[str, Any]] = {}
    for lineage in lineages_of(root, table, version) if missing else ():
        named = missing.intersection(lineage.get(WINDOWS, ()))
        found |= dict.fromkeys(named, lineage)
        missing -= named
        if not missing:
            break
    return found


def commit_metadata(lineage: Mapping[str, Any] | None, key: str = _LINEAGE) -> dict[str, str] | None:
    """Return the metadata by which a commit records a lineage; None without one."""
    return None if lineage is None else {key: json.dumps(lineage)}


def kept_lineage(root: str, table: Table) -> dict[str, str] | None:
    """Return the metadata of a commit that only moves or removes rows: Delta may clean up the writer's last commit."""
    return commit_metadata(lineage_of(root, table), _KEPT_LINEAGE)


def commit_of(root: str, table: Table, version: int) -> list[dict[str, Any]] | None:
    """Return the actions of the commit of a version, as Delta's protocol has them; None if the log doesn't have it."""
    content = read_file(_commit_path(root, table, version))
    return None if content is None else [json.loads(line) for line in content.splitlines()]


def commit_lineage(commit: Iterable[Mapping[str, Any]], key: str = _LINEAGE) -> dict[str, Any] | None:
    """Return the lineage that a commit records; None without one."""
    texts = (action["commitInfo"].get(key) for action in commit if "commitInfo" in action)
    return next((json.loads(text) for text in texts if text), None)


def added_by(root: str, table: Table, commit: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the paths of the files whose rows a commit adds; OPTIMIZE only moves rows."""
    added = (action["add"] for action in commit if "add" in action)
    return [f"{path_of(root, table)}/{file['path']}" for file in added if file["dataChange"]]


def is_maintenance(commit: Sequence[Mapping[str, Any]]) -> bool:
    """Return True if a commit is of VACUUM, or of OPTIMIZE, which only moves rows."""
    moved = [file["dataChange"] for action in commit for kind, file in action.items() if kind in ("add", "remove")]
    operations = (action["commitInfo"]["operation"] for action in commit if "commitInfo" in action)
    return (bool(moved) and not any(moved)) or any(operation.startswith("VACUUM") for operation in operations)


def _commit_path(root: str, table: Table, version: int) -> str:
    return f"{path_of(root, table)}/_delta_log/{version:020}.json"


def _files(log: deltalake.DeltaTable) -> pa.Table:
    return pa.table(log.get_add_actions(flatten=True))


def _paths(root: str, table: Table, files: pa.Table) -> list[str]:
    return [f"{path_of(root, table)}/{path}" for path in files["path"].to_pylist()]


def _as_row(value: Any) -> Any:
    """Return the value with every dictionary in it as a row, whose columns are attributes."""
    if isinstance(value, dict):
        return _row_type(tuple(value))(*map(_as_row, value.values()))
    return [_as_row(each) for each in value] if isinstance(value, list) else value


@cache
def _row_type(columns: tuple[str, ...]) -> Any:
    return namedtuple("Row", columns)
