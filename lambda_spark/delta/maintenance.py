"""OPTIMIZE and VACUUM: keep tables quick to read and small on disk while streams and jobs write to them.

OPTIMIZE merges small files of the logs, where each micro-batch leaves files for good. It leaves out the realtime view,
whose rows the batch layer soon lets the stream drop, and the batch views, which each run writes in large files. Own
code: of two `DeltaTable.optimize.compact()` at once, delta-rs 1.6.6 commits both, and every row is there twice.

VACUUM removes the files that no longer belong to the current version of any table. It keeps them for a while for
readers of an older version.
"""

from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, groupby
from typing import Any, NamedTuple

import deltalake
import pyarrow as pa
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import CommitProperties
from pyspark.sql import Row

from lambda_spark.delta import tables
from lambda_spark.delta.commits import commit_files, removal_of
from lambda_spark.delta.coverage import EVENTS_VERSION
from lambda_spark.delta.parquet_files import FileWriter, Target, open_parquet
from lambda_spark.delta.tables import (
    EVENTS,
    MASTER_DATASET,
    PRODUCT_ACTIVITY,
    RECENT_BRANDS,
    RECOMMENDATIONS,
    TRENDS,
    USER_BRANDS,
    Table,
)

_TABLES = (*MASTER_DATASET, PRODUCT_ACTIVITY, TRENDS, USER_BRANDS, RECENT_BRANDS, RECOMMENDATIONS)
_ATTEMPTS = 3

# Delta's default: smaller files are merged into files of up to this size.
_TARGET_BYTES = 100 * 2**20

# A stream may commit first many times: it commits once a second, and a commit here takes milliseconds.
_COMMIT_ATTEMPTS = 50

# A file as a row of the log's add actions.
File = dict[str, Any]


class MaintenanceResult(NamedTuple):
    """A table's number of files before and after, how many VACUUM removed, and whether all was done."""

    table: Table
    before: int
    after: int
    removed: int
    is_done: bool


def optimize(root: str, kept_hours: int | None = None) -> list[MaintenanceResult]:
    """OPTIMIZE and VACUUM every existing table. Removed files are kept for 7 days, or for `kept_hours`.

    With `kept_hours`, files that no commit has added yet are kept too: a job may be about to commit them.
    """
    return [_maintain(root, table, kept_hours) for table in _TABLES if tables.exists(root, table)]


def compact(root: str, table: Table) -> bool:
    """Merge the small files of each partition value in one commit that changes no row.

    Returns False, with nothing changed, if another OPTIMIZE has merged the same files, or others never stop committing.
    """
    log = deltalake.DeltaTable(tables.path_of(root, table))
    bins = _bins(pa.table(log.get_add_actions(flatten=True)).to_pylist())
    if not bins:
        return True
    schema = pa.schema(log.schema().to_arrow())
    return _commit(root, table, [_merged(root, table, schema, files) for files in bins], [*chain(*bins)])


def _bins(files: Iterable[File]) -> list[list[File]]:
    """Return lists of two or more small files of one folder, each to become one file."""
    bins: list[list[File]] = []
    by_size = sorted(files, key=lambda file: (_folder(file), file["size_bytes"]))
    for _, of_folder in groupby(by_size, _folder):
        size = _TARGET_BYTES
        for file in of_folder:
            size += file["size_bytes"]
            if size > _TARGET_BYTES:
                bins.append([])
                size = file["size_bytes"]
            bins[-1].append(file)
    return [files for files in bins if len(files) > 1]


def _folder(file: File) -> str:
    """Return the folder of a partition value with a slash at its end; empty for a table without partitions."""
    path: str = file["path"]
    return path[: path.rfind("/") + 1]


def _merged(root: str, table: Table, schema: pa.Schema, files: list[File]) -> Row:
    """Write the rows of the files to one file beside them. Returns its row, columns as WRITTEN."""
    folder = _folder(files[0])
    columns = pa.schema([field for field in schema if field.name != table.partitioned_by])
    writer = FileWriter(Target(f"{tables.path_of(root, table)}/{folder}".rstrip("/"), columns))
    paths = [f"{tables.path_of(root, table)}/{file['path']}" for file in files]
    # By default a dataset reads far ahead.
    for batch in open_parquet(paths, columns).to_batches(batch_readahead=1, fragment_readahead=1):
        writer.write(pa.Table.from_batches([batch]))
    (written,) = writer.finish().to_pylist()
    value = folder.rstrip("/").partition("=")[2] or None
    return Row(**written | {"path": folder + written["path"], "partition_value": value})


def _commit(root: str, table: Table, added: list[Row], removed: list[File]) -> bool:
    removals = [removal_of(file, is_change=False) for file in removed]
    for _ in range(_COMMIT_ATTEMPTS):
        log = deltalake.DeltaTable(tables.path_of(root, table))
        if not {file["path"] for file in removed} <= set(pa.table(log.get_add_actions())["path"].to_pylist()):
            return False
        # On this version only: delta-rs would retry without checking what newer commits have removed.
        commit = CommitProperties(tables.kept_lineage(root, table), max_commit_retries=0)
        with suppress(CommitFailedError):
            commit_files(log, table, added, removals, commit, is_change=False)
            return True
    return False


def _maintain(root: str, table: Table, kept_hours: int | None) -> MaintenanceResult:
    before, removed, is_done = len(tables.files_of(root, table)), 0, False
    commit = CommitProperties(tables.kept_lineage(root, table))
    for _ in range(_ATTEMPTS):
        try:
            if table.is_log and not compact(root, table):
                continue
            log = deltalake.DeltaTable(tables.path_of(root, table))
            removed += _vacuum(root, log, table, kept_hours, commit)
        except CommitFailedError:
            continue
        is_done = True
        break
    return MaintenanceResult(table, before, len(tables.files_of(root, table)), removed, is_done)


def _vacuum(
    root: str, log: deltalake.DeltaTable, table: Table, kept_hours: int | None, commit: CommitProperties
) -> int:
    """Remove old files and return how many; without any, there's no commit."""
    versions = _read_versions(root) if table == EVENTS else None
    is_usual = kept_hours is None

    def run(dry_run: bool) -> int:
        removed = log.vacuum(
            kept_hours, dry_run, is_usual, commit_properties=commit, full=is_usual, keep_versions=versions
        )
        return len(removed)

    return run(dry_run=False) if run(dry_run=True) else 0


def _read_versions(root: str) -> list[int]:
    """Return the versions of `events` whose files views and answers may be compared with again."""
    lineages = [tables.lineage_of(root, table) or {} for table in (PRODUCT_ACTIVITY, USER_BRANDS, RECOMMENDATIONS)]
    versions = {lineage.get("snapshot", lineage).get(EVENTS_VERSION) for lineage in lineages}
    return sorted(version for version in versions - {None} if tables.has_version(root, EVENTS, version))
