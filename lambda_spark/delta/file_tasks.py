"""The files of the master dataset, for Spark's tasks to read as Arrow tables without the JVM. Runs on executors.

The master dataset is append-only: its files hold exactly its rows, without deletion vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pyarrow as pa
from pyarrow.dataset import Dataset

from lambda_spark.delta.parquet_files import open_parquet
from lambda_spark.time_ranges import UTC

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Part = TypeVar("Part")


class EventFile(NamedTuple):
    """A Parquet file of `events`: the day of all its events, and their number."""

    path: str
    day: date
    row_count: int


class EventSlice(NamedTuple):
    """The events of some files that meet a SQL condition."""

    files: Sequence[EventFile]
    condition: str = "true"


def open_files(files: Iterable[EventFile]) -> Dataset:
    """Open the events of at least one file, without the column `event_date`, to be read as far as a query needs."""
    return open_parquet([file.path for file in files])


def files_between(files: Sequence[EventFile], first: date, last: date) -> list[EventFile]:
    """Return the files of the days from `first` to `last`, both included."""
    return [file for file in files if first <= file.day <= last]


def slices_before(events: Iterable[EventSlice], as_of: datetime) -> list[EventSlice]:
    """Return the events of slices before an instant."""
    moment = as_of.astimezone(UTC)
    return [
        EventSlice([f for f in files if f.day <= moment.date()], f"{condition} AND event_time < TIMESTAMPTZ '{moment}'")
        for files, condition in events
    ]


def split_slices(slices: Iterable[EventSlice], size: int) -> list[EventSlice]:
    """Split slices into parts of about `size` events at most, with at least one file each, in their order."""
    parts: list[EventSlice] = []
    for files, condition in slices:
        room = 0
        for file in files:
            if file.row_count > room:
                parts.append(EventSlice([], condition))
                room = size
            parts[-1] = EventSlice([*parts[-1].files, file], condition)
            room -= file.row_count
    return parts


def map_parts(
    spark: SparkSession, parts: Sequence[Part], compute: Callable[[Part], pa.Table], columns: str
) -> DataFrame:
    """Run `compute` on each part, a task each. The rows of all parts, with the columns of the DDL."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                yield from compute(parts[number]).to_batches()

    return spark.range(0, len(parts), numPartitions=max(len(parts), 1)).mapInArrow(run, columns)
