"""The Delta tables by name under one root: read without Spark, and asked what they were computed from.

A few rows of a table, asked for in SQL without Spark, whose first query of a process takes seconds.
"""

import json
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import deltalake
import pyarrow as pa
from pyarrow.dataset import Dataset, dataset

from lambda_spark import schemas
from lambda_spark.delta.parquet_files import open_parquet
from lambda_spark.delta.storage import is_file, read_file
from lambda_spark.errors import NotComputedError
from lambda_spark.schemas import Row


@dataclass(frozen=True)
class Table:
    """A table's contract: its name, its columns as DDL, the job that writes it."""

    name: str
    columns: str
    written_by: str
    partitioned_by: str | None = None
    is_log: bool = False


EVENTS = Table("events", schemas.EVENTS, "jobs/ingest_events.py", "event_date", is_log=True)
REJECTED_EVENTS = Table("rejected_events", schemas.REJECTED_EVENTS, "jobs/ingest_events.py", is_log=True)

# As jobs/ingest_events.py writes them; the events last, since their log says how far the topic is stored.
MASTER_DATASET = (REJECTED_EVENTS, EVENTS)
REPLAYED_REJECTS = Table("replayed_rejects", schemas.REPLAYED_REJECTS, "jobs/replay_rejects.py", is_log=True)
PRODUCT_ACTIVITY = Table("product_activity", schemas.PRODUCT_ACTIVITY, "jobs/batch_trends.py")
TRENDS = Table("trends", schemas.TRENDS, "jobs/batch_trends.py")
USER_BRANDS = Table("user_brands", schemas.USER_BRANDS, "jobs/batch_brands.py")
RECENT_BRANDS = Table("recent_brands", schemas.RECENT_BRANDS, "jobs/speed_stream.py")

RECOMMENDATIONS = Table("recommendations", schemas.RECOMMENDATIONS, "jobs/recommend.py")

# Where a commit tells what its version was computed from, and where one of OPTIMIZE keeps what the writer's last told.
_LINEAGE, _KEPT_LINEAGE = "userMetadata", "keptMetadata"


def path_of(root: str, table: Table) -> str:
    """Return where the table is."""
    return f"{root}/{table.name}"


def exists(root: str, table: Table) -> bool:
    """Say whether the table has been made."""
    return deltalake.DeltaTable.is_deltatable(path_of(root, table))


def version_of(root: str, table: Table) -> int:
    """Return the table's present version."""
    return deltalake.DeltaTable(path_of(root, table)).version()


def find_version(root: str, table: Table) -> int | None:
    """Return the table's present version; None where it has not been made."""
    return version_of(root, table) if exists(root, table) else None


def files_of(root: str, table: Table, version: int | None = None) -> pa.Table:
    """Return the table's files, or those of a version, with partition values and statistics. One row per file."""
    return pa.table(deltalake.DeltaTable(path_of(root, table), version).get_add_actions(flatten=True))


def paths_of(root: str, table: Table, version: int | None = None) -> list[str]:
    """Return where the table's files are, or those of a version."""
    return [f"{path_of(root, table)}/{path}" for path in files_of(root, table, version)["path"].to_pylist()]


def open_dataset(root: str, table: Table, version: int | None = None) -> Dataset:
    """Return what the table, or a version of it, holds, to be read as far as a query needs it, without Spark."""
    delta = deltalake.DeltaTable(path_of(root, table), version)
    paths = paths_of(root, table, delta.version())
    # Not deltalake's own dataset: it passes over all files whose statistics leave out a text that is asked for.
    schema = pa.schema(delta.schema().to_arrow())
    return open_parquet(paths, schema) if paths else dataset(schema.empty_table())


def read_arrow(root: str, table: Table, columns: Sequence[str]) -> pa.Table:
    """Read columns of the table, without Spark."""
    return open_dataset(root, table).to_table(list(columns))


def lineage_of(root: str, table: Table, version: int | None = None) -> dict[str, Any] | None:
    """Return what the table, or a version of it, was last computed from, as its writer said; None where none did."""
    return next(lineages_of(root, table, version), None)


def lineages_of(root: str, table: Table, version: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield what each version was computed from, the newest or the one named first, as far back as the log goes.

    Last comes what OPTIMIZE has kept, in case that the log does not go back to the commit that told it.
    """
    if not exists(root, table):
        return
    # Read as it is: deltalake's history begins with the newest commit, whatever version is open.
    newest, kept = version_of(root, table) if version is None else version, None
    for number in range(newest, -1, -1):
        commit = commit_of(root, table, number)
        if commit is None:
            break
        if (told := commit_lineage(commit)) is not None:
            yield told
        kept = kept or commit_lineage(commit, _KEPT_LINEAGE)
    if kept is not None:
        yield kept


def commit_of(root: str, table: Table, version: int) -> list[dict[str, Any]] | None:
    """Return the actions of the commit that made a version, as Delta's protocol has them; None where there is none."""
    content = read_file(f"{path_of(root, table)}/_delta_log/{version:020}.json")
    return None if content is None else [json.loads(line) for line in content.splitlines()]


def has_version(root: str, table: Table, version: int) -> bool:
    """Say whether the table has come to that version, as far back as its log goes."""
    return is_file(f"{path_of(root, table)}/_delta_log/{version:020}.json")


def commit_metadata(lineage: Mapping[str, Any] | None, key: str = _LINEAGE) -> dict[str, str] | None:
    """Return the metadata by which a commit tells a lineage, as `told_by` finds it; None where there is none."""
    return None if lineage is None else {key: json.dumps(lineage)}


def kept_lineage(root: str, table: Table) -> dict[str, str] | None:
    """Return the metadata of a commit of OPTIMIZE or VACUUM: Delta may clean up what the writer's last one told."""
    return commit_metadata(lineage_of(root, table), _KEPT_LINEAGE)


def commit_lineage(commit: Iterable[Mapping[str, Any]], key: str = _LINEAGE) -> dict[str, Any] | None:
    """Return what a commit tells of what its version was computed from; None where it tells nothing."""
    told = (action["commitInfo"].get(key) for action in commit if "commitInfo" in action)
    return next((json.loads(text) for text in told if text), None)


def added_by(root: str, table: Table, commit: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return where the files are of the rows that a commit has added; OPTIMIZE only moves rows."""
    added = (action["add"] for action in commit if "add" in action)
    return [f"{path_of(root, table)}/{file['path']}" for file in added if file["dataChange"]]


def is_maintenance(commit: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether a commit is of VACUUM, or of OPTIMIZE: then it only moves rows."""
    moved = [file["dataChange"] for action in commit for kind, file in action.items() if kind in ("add", "remove")]
    told = (action["commitInfo"]["operation"] for action in commit if "commitInfo" in action)
    return (bool(moved) and not any(moved)) or any(operation.startswith("VACUUM") for operation in told)


def require(root: str, table: Table) -> None:
    """Raise NotComputedError where the table has not been made."""
    if not exists(root, table):
        raise NotComputedError(f"There is no table {path_of(root, table)} yet: run {table.written_by} first.")


def query(root: str, table: Table, sql: str) -> list[Row]:
    """Ask the table, by its own name, for a few rows. Raises NotComputedError where the table has not been made."""
    require(root, table)
    asked = deltalake.QueryBuilder().register(table.name, deltalake.DeltaTable(path_of(root, table)))
    return [_as_row(row) for row in pa.table(asked.execute(sql)).to_pylist()]


def _as_row(value: Any) -> Any:
    """Return the value with every dictionary in it as a row, whose columns are attributes."""
    if isinstance(value, dict):
        return _row_type(tuple(value))(*map(_as_row, value.values()))
    return [_as_row(each) for each in value] if isinstance(value, list) else value


@cache
def _row_type(columns: tuple[str, ...]) -> Any:
    return namedtuple("Row", columns)
