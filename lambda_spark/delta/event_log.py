"""The files of the master dataset, for Spark's tasks to read as Arrow tables, past the JVM. Runs on executors.

The master dataset is only appended to: what its files hold is what it holds, without deletion vectors.

Which days the master dataset holds events of, and which of them have changed, from its log alone.

What each layer has received, read from Delta's log and the checkpoints: no Spark needed, so also at the very end.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import dataset

from lambda_spark.delta import tables
from lambda_spark.delta.parquet_files import open_parquet
from lambda_spark.delta.tables import EVENTS, REJECTED_EVENTS, exists, files_of, path_of
from lambda_spark.errors import NotComputedError
from lambda_spark.time_ranges import EventDay

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


Part = TypeVar("Part")


class EventFile(NamedTuple):
    """A Parquet file of `events`: the day of all of its events, and how many there are."""

    path: str
    day: date
    row_count: int


@dataclass(frozen=True)
class Counts:
    """Messages of the topic as each layer counted them; None is a count that was not taken.

    `from_files` are those stored and rejected that came straight from files and not from the topic.
    """

    sent: int | None = None
    batch_received: int | None = None
    speed_received: int | None = None
    stored: int | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    from_files: int = 0


def event_counts(root: str, version: int | None = None) -> tuple[int, int]:
    """Return the number of events, and of those that came straight from files, as the log, or a version of it, says."""
    files = files_of(root, EVENTS, version) if exists(root, EVENTS) else None
    if not files:
        return 0, 0
    stored, from_topic = (pc.sum(files[name]).as_py() for name in ("num_records", "null_count.source_file"))
    return stored, stored - from_topic


def event_files(root: str, version: int | None = None, after: int | None = None) -> list[EventFile]:
    """Return the files of `events`, or of a version of it; with `after`, those that have what came after that version.

    Of a day that OPTIMIZE has rewritten since, they have what was there before, too.
    """
    folder, files = path_of(root, EVENTS), files_of(root, EVENTS, version).to_pylist()
    found = [EventFile(f"{folder}/{f['path']}", f["partition.event_date"], f["num_records"]) for f in files]
    if after is None:
        return found
    before = event_files(root, after)
    paths, unchanged = {file.path for file in before}, count_by_day(before).items() & count_by_day(found).items()
    days = {day for day, _ in unchanged}
    return [file for file in found if file.path not in paths and file.day not in days]


def count_by_day(files: Iterable[EventFile]) -> dict[date, int]:
    """Return the number of events of each day that files hold."""
    counts: Counter[date] = Counter()
    for file in files:
        counts[file.day] += file.row_count
    return dict(counts)


def open_files(files: Iterable[EventFile]) -> dataset.Dataset:
    """Return what the files hold but for `event_date`, their folder, to be read as far as a query needs it."""
    return open_parquet([file.path for file in files])


def in_parts(files: Sequence[EventFile], size: int) -> list[list[EventFile]]:
    """Divide the files, in their order, into parts of at most about so many events, at least one file each."""
    parts: list[list[EventFile]] = []
    room = 0
    for file in files:
        if file.row_count > room:
            parts.append([])
            room = size
        parts[-1].append(file)
        room -= file.row_count
    return parts


def over_parts(
    spark: "SparkSession", parts: Sequence[Part], compute: Callable[[Part], pa.Table], columns: str
) -> "DataFrame":
    """Run `compute` on each part, a task each. Its rows, whose columns are given as DDL, one part after another."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                yield from compute(parts[number]).to_batches()

    return spark.range(0, len(parts), numPartitions=max(len(parts), 1)).mapInArrow(run, columns)


_DAY = "partition.event_date"


def event_days(root: str, version: int | None = None) -> list[EventDay]:
    """Return the days of which the master dataset, or a version of it, holds events, from Delta's own statistics.

    Raises NotComputedError where there is no event yet.
    """
    if tables.exists(root, EVENTS):
        aggregates = [("min.event_time", "min"), ("max.event_time", "max")]
        rows = tables.files_of(root, EVENTS, version).group_by(_DAY).aggregate(aggregates).sort_by(_DAY).to_pylist()
        if rows:
            return [EventDay(row[_DAY], row["min.event_time_min"], row["max.event_time_max"]) for row in rows]
    raise NotComputedError(f"There are no events in {root} yet: run {EVENTS.written_by} first.")


def changed_days(root: str, after: int, until: int) -> list[date]:
    """Return the days that events were added to after one version of the master dataset, up to and with another.

    A log only grows, so these are the days with more events than before, whatever became of its files.
    """
    if after >= until:
        return []
    before, now = (event_counts_by_day(root, version) for version in (after, until))
    return sorted(day for day, count in now.items() if count != before.get(day))


def event_counts_by_day(root: str, version: int) -> dict[date, int]:
    """Return the number of events of each day that a version of the master dataset holds."""
    return count_by_day(event_files(root, version))


def master_dataset_counts(root: str) -> Counts:
    """Count all events stored and all rejected, by reason, and how many of both came from files."""
    stored, stored_from_files = event_counts(root)
    rejected, rejected_from_files = _rejected(root)
    return Counts(stored=stored, rejected=rejected, from_files=stored_from_files + rejected_from_files)


def growth(before: Counts, after: Counts, received: int | None = None) -> Counts:
    """Return what came between two counts of the master dataset, and what was received meanwhile."""
    stored, rejected = (after.stored or 0) - (before.stored or 0), Counter(after.rejected) - Counter(before.rejected)
    if received is None:
        received = stored + rejected.total()
    return Counts(batch_received=received, stored=stored, rejected=rejected)


def _rejected(root: str) -> tuple[Counter[str], int]:
    if not tables.exists(root, REJECTED_EVENTS):
        return Counter(), 0
    rejected = tables.read_arrow(root, REJECTED_EVENTS, ["reason", "source_file"])
    return Counter(rejected["reason"].to_pylist()), len(rejected) - rejected["source_file"].null_count
