"""The files of the master dataset, for Spark's tasks to read as Arrow tables, past the JVM. Runs on executors.

The master dataset is only appended to: what its files hold is what it holds, without deletion vectors.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pyarrow as pa
from pyarrow import dataset

from lambda_spark.parquet_files import open_parquet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Part = TypeVar("Part")


class EventFile(NamedTuple):
    """A Parquet file of `events`: the day of all of its events, and how many there are."""

    path: str
    day: date
    row_count: int


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
