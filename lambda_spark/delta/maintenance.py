"""OPTIMIZE: small files of a table put together, while others append to it.

By a commit of our own: of two that put the same files together at once, delta-rs 1.6.6 commits both, and every row is
there twice.

OPTIMIZE and VACUUM: what keeps tables quick to read and small on disk, while streams and jobs write to them.

OPTIMIZE puts small files together. It is for the tables that only grow, where each micro-batch leaves files for good.
The realtime views are left out: the batch layer empties them, and rewriting what the stream is about to drop would get
in its way. So are the batch views: each run writes them in large files, apart by what the next one replaces.

VACUUM removes files that a table has given up, of every table. It keeps them for a while, for whoever reads a version
that is no longer the newest.
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

# As Delta's own OPTIMIZE has it in delta-rs: files below it are small, and put together up to it.
_TARGET_BYTES = 100 * 2**20

# A stream that appends may be first many times: it commits once a second, and this takes milliseconds.
_TRIES = 50

# A file as the log tells of it.
File = dict[str, Any]


def compact(root: str, table: Table) -> bool:
    """Put small files together, those of each partition value apart, in one commit; rows and their number stay.

    Returns whether it is done: not where another one has put the same files together meanwhile, or others never cease
    to commit.
    """
    log = deltalake.DeltaTable(tables.path_of(root, table))
    bins = _bins(pa.table(log.get_add_actions(flatten=True)).to_pylist())
    if not bins:
        return True
    schema = pa.schema(log.schema().to_arrow())
    return _commit(root, table, [_written(root, table, schema, files) for files in bins], [*chain(*bins)])


def _bins(files: Iterable[File]) -> list[list[File]]:
    """Return small files of one folder that are to be one file; a file that has no other stays as it is."""
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
    """Return the folder of a partition value with a slash at its end; nothing for a table without partitions."""
    path: str = file["path"]
    return path[: path.rfind("/") + 1]


def _written(root: str, table: Table, schema: pa.Schema, files: list[File]) -> Row:
    """Write the rows of the files to one beside them, as WRITTEN tells of it."""
    folder = _folder(files[0])
    columns = pa.schema([field for field in schema if field.name != table.partitioned_by])
    writer = FileWriter(Target(f"{tables.path_of(root, table)}/{folder}".rstrip("/"), columns))
    paths = [f"{tables.path_of(root, table)}/{file['path']}" for file in files]
    # A dataset reads far ahead, unless it is told not to.
    for batch in open_parquet(paths, columns).to_batches(batch_readahead=1, fragment_readahead=1):
        writer.write(pa.Table.from_batches([batch]))
    (written,) = writer.finish().to_pylist()
    value = folder.rstrip("/").partition("=")[2] or None
    return Row(**written | {"path": folder + written["path"], "partition_value": value})


def _commit(root: str, table: Table, added: list[Row], removed: list[File]) -> bool:
    removals = [removal_of(file, is_change=False) for file in removed]
    for _ in range(_TRIES):
        log = deltalake.DeltaTable(tables.path_of(root, table))
        if not {file["path"] for file in removed} <= set(pa.table(log.get_add_actions())["path"].to_pylist()):
            return False
        # On top of this very version: delta-rs would try on, and not look at what the next ones have removed.
        commit = CommitProperties(tables.kept_lineage(root, table), max_commit_retries=0)
        with suppress(CommitFailedError):
            commit_files(log, table, added, removals, commit, is_change=False)
            return True
    return False


_TABLES = (*MASTER_DATASET, PRODUCT_ACTIVITY, TRENDS, USER_BRANDS, RECENT_BRANDS, RECOMMENDATIONS)
_ATTEMPTS = 3


class MaintenanceResult(NamedTuple):
    """What was done to a table: its files before and after, how many VACUUM removed, and whether all was done."""

    table: Table
    before: int
    after: int
    removed: int
    is_done: bool


def optimize(root: str, kept_hours: int | None = None) -> list[MaintenanceResult]:
    """Do both to every table there is. Files that were given up are kept for 7 days, or for so many hours.

    A shorter time spares what no log names: a job may be about to commit it.
    """
    return [_keep_up(root, table, kept_hours) for table in _TABLES if tables.exists(root, table)]


def _keep_up(root: str, table: Table, kept_hours: int | None) -> MaintenanceResult:
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
    """Remove what is old enough, and return how many files; a table without any gets no commit."""
    versions = _read_versions(root) if table == EVENTS else None
    is_usual = kept_hours is None

    def run(dry_run: bool) -> int:
        removed = log.vacuum(
            kept_hours, dry_run, is_usual, commit_properties=commit, full=is_usual, keep_versions=versions
        )
        return len(removed)

    return run(dry_run=False) if run(dry_run=True) else 0


def _read_versions(root: str) -> list[int]:
    """Return the versions of `events` that views and answers are of, since these read its files again."""
    lineages = [tables.lineage_of(root, table) or {} for table in (PRODUCT_ACTIVITY, USER_BRANDS, RECOMMENDATIONS)]
    told = {lineage.get("snapshot", lineage).get(EVENTS_VERSION) for lineage in lineages}
    return sorted(version for version in told - {None} if tables.has_version(root, EVENTS, version))
