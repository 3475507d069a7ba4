"""OPTIMIZE and VACUUM: what keeps tables quick to read and small on disk, while streams and jobs write to them.

OPTIMIZE puts small files together. It is for the tables that only grow, where each micro-batch leaves files for good.
The realtime views are left out: the batch layer empties them, and rewriting what the stream is about to drop would get
in its way. So are the batch views: each run writes them in large files, apart by what the next one replaces.

VACUUM removes files that a table has given up, of every table. It keeps them for a while, for whoever reads a version
that is no longer the newest.
"""

from typing import NamedTuple

import deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import CommitProperties

from lambda_spark import tables
from lambda_spark.compaction import compact
from lambda_spark.handover import EVENTS_VERSION
from lambda_spark.tables import (
    EVENTS,
    MASTER_DATASET,
    PRODUCT_ACTIVITY,
    REALTIME_VIEWS,
    RECOMMENDATIONS,
    TRENDS,
    USER_BRANDS,
    Table,
)

_TABLES = (*MASTER_DATASET, PRODUCT_ACTIVITY, TRENDS, USER_BRANDS, *REALTIME_VIEWS, RECOMMENDATIONS)
_TRIES = 3


class Upkeep(NamedTuple):
    """What was done to a table: its files before and after, how many VACUUM removed, and whether all was done."""

    table: Table
    before: int
    after: int
    removed: int
    is_done: bool


def optimize(root: str, kept_hours: int | None = None) -> list[Upkeep]:
    """Do both to every table there is. Files that were given up are kept for 7 days, or for so many hours.

    A shorter time spares what no log names: a job may be about to commit it.
    """
    return [_keep_up(root, table, kept_hours) for table in _TABLES if tables.exists(root, table)]


def _keep_up(root: str, table: Table, kept_hours: int | None) -> Upkeep:
    before, removed, is_done = len(tables.files_of(root, table)), 0, False
    commit = CommitProperties(tables.kept_lineage(root, table))
    for _ in range(_TRIES):
        try:
            if table.is_log and not compact(root, table):
                continue
            log = deltalake.DeltaTable(tables.path_of(root, table))
            removed += _vacuum(root, log, table, kept_hours, commit)
        except CommitFailedError:
            continue
        is_done = True
        break
    return Upkeep(table, before, len(tables.files_of(root, table)), removed, is_done)


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
    told = {lineage.get("known", lineage).get(EVENTS_VERSION) for lineage in lineages}
    return sorted(version for version in told - {None} if tables.has_version(root, EVENTS, version))
