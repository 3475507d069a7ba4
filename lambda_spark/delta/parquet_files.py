"""The Parquet files of Delta tables, written by Spark's tasks over Arrow batches; the driver commits them to the logs.

Spark's own Delta writer takes 0.3 to 0.8 s for a commit, however small, and passes each row through the JVM once more.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import dataset

from lambda_spark.delta.storage import open_paths, open_root
from lambda_spark.engine import freeze_gc
from lambda_spark.schemas import is_local

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# What the log has to know of a file. One row per file: the place of its table among those that are written to, and the
# value of the table's only partition column.
WRITTEN = "place int, path string, size bigint, partition_value string, stats string"

_WRITTEN_IN_ARROW = pa.schema(
    [
        ("place", pa.int32()),
        ("path", pa.string()),
        ("size", pa.int64()),
        ("partition_value", pa.string()),
        ("stats", pa.string()),
    ]
)

# Makes the rows of the tables out of batches: each time one Arrow table for each of them, in their order.
RowBuilder = Callable[[Iterator[pa.RecordBatch]], Iterator[Sequence[pa.Table]]]

# Rows that a task holds before it writes them as a row group of each file: 100 MB or so.
_INSTANT = pa.timestamp("us", "UTC")
_ROWS_HELD = 500_000
_ROWS_READ = 65_536


class Target(NamedTuple):
    """A table to write to: its folder or URI, its columns, and the column whose values have a folder each."""

    folder: str
    schema: pa.Schema
    partitioned_by: str | None = None


class FileWriter:
    """Writes what it is given to one file per partition value; `finish` tells of them, columns as WRITTEN."""

    def __init__(self, target: Target, place: int = 0) -> None:
        self._target = target
        self._files, self._folder = open_root(target.folder)
        self._place = place
        self._held: list[pa.Table] = []
        self._writers: dict[str | None, tuple[str, pq.ParquetWriter]] = {}

    def write(self, rows: pa.Table) -> None:
        """Take the rows; their columns may come in another order than the table's."""
        columns = [rows[field.name].cast(field.type) for field in self._target.schema]
        self._held.append(pa.Table.from_arrays(columns, schema=self._target.schema))
        if sum(map(len, self._held)) >= _ROWS_HELD:
            self._flush()

    def finish(self) -> pa.RecordBatch:
        """Close the files. One row per file."""
        self._flush()
        files = [self._close(value, path, writer) for value, (path, writer) in self._writers.items()]
        return pa.RecordBatch.from_pylist(files, _WRITTEN_IN_ARROW)

    def _flush(self) -> None:
        rows = pa.concat_tables(self._held) if self._held else self._target.schema.empty_table()
        self._held = []
        column = self._target.partitioned_by
        if column is None:
            self._write_group(None, rows)
            return
        for value in pc.unique(rows[column]):
            self._write_group(str(value), rows.filter(pc.equal(rows[column], value)).drop_columns(column))

    def _write_group(self, value: str | None, rows: pa.Table) -> None:
        if not len(rows):
            return
        if value not in self._writers:
            folder = f"{self._target.partitioned_by}={value}/" if value is not None else ""
            path = f"{folder}part-{uuid4()}.zstd.parquet"
            file = f"{self._folder}/{path}"
            # Elsewhere a folder is nothing but a part of a name.
            if is_local(self._target.folder):
                self._files.create_dir(file.rpartition("/")[0])
            self._writers[value] = path, pq.ParquetWriter(file, rows.schema, filesystem=self._files, compression="zstd")
        self._writers[value][1].write_table(rows, row_group_size=_ROWS_HELD)

    def _close(self, value: str | None, path: str, writer: pq.ParquetWriter) -> dict[str, Any]:
        writer.close()
        file = f"{self._folder}/{path}"
        metadata = pq.read_metadata(file, filesystem=self._files)
        return {
            "place": self._place,
            "path": path,
            "size": self._files.get_file_info(file).size,
            "partition_value": value,
            "stats": json.dumps(_statistics(metadata)),
        }


def open_parquet(paths: Sequence[str], schema: pa.Schema | None = None) -> dataset.Dataset:
    """Return what the files hold, to be read as far as a query needs it; as the schema says, or else the first file."""
    system, places = open_paths(paths)
    if schema is None:
        first = dataset.dataset(places[:1], format="parquet", filesystem=system).schema
        # Spark's own files, as the first version wrote them, keep instants as INT96, which says no time zone.
        schema = pa.schema(
            [field.with_type(_INSTANT) if pa.types.is_timestamp(field.type) else field for field in first]
        )
    return dataset.dataset(places, schema, format="parquet", filesystem=system)


def read_batches(paths: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read columns of the files, one after another, and little of them at a time: a dataset reads far ahead."""
    system, places = open_paths(paths) if paths else (None, [])
    for place in places:
        with pq.ParquetFile(place, filesystem=system, pre_buffer=False) as file:
            yield from file.iter_batches(_ROWS_READ, columns=list(columns), use_threads=False)


def write_files(rows: "DataFrame", targets: Mapping[int, Target], make_rows: RowBuilder) -> "DataFrame":
    """Make the rows of the targets, given by their place, and write them when the answer is collected.

    One row per file, columns as WRITTEN.
    """

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        freeze_gc()
        writers = [FileWriter(target, place) for place, target in targets.items()]
        for tables in make_rows(batches):
            for place, writer in zip(targets, writers, strict=True):
                writer.write(tables[place])
        yield from (writer.finish() for writer in writers)

    return rows.mapInArrow(write, WRITTEN)


def as_map_in_arrow(make_rows: RowBuilder) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function for `mapInArrow` that makes the rows of the only table."""

    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for (table,) in make_rows(batches):
            yield from table.to_batches()

    return rows


def unchanged_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table]]:
    """Take the batches of one table for its rows."""
    return ((pa.Table.from_batches([batch]),) for batch in batches)


def _statistics(metadata: pq.FileMetaData) -> dict[str, Any]:
    """Return what lets a reader pass over the file: rows, and of each number or time the least, the largest, the NULLs.

    As in Delta's protocol, "Per-file Statistics". Texts are left out: nothing here looks for ranges of them.
    """
    least, largest, nulls = {}, {}, {}
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    for number in range(metadata.num_columns):
        columns = [group.column(number) for group in groups]
        name, statistics = columns[0].path_in_schema, [column.statistics for column in columns]
        if "." in name or not all(statistics):
            continue
        nulls[name] = sum(each.null_count for each in statistics)
        ranges = [(each.min, each.max) for each in statistics if each.has_min_max]
        if ranges and not isinstance(ranges[0][0], (str, bytes)):
            least[name] = _as_json(min(low for low, _ in ranges))
            largest[name] = _as_json(max(high for _, high in ranges))
    return {"numRecords": metadata.num_rows, "minValues": least, "maxValues": largest, "nullCount": nulls}


def _as_json(value: object) -> object:
    """Instants are cut to milliseconds, as Delta wants them: who reads a largest one adds a millisecond."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
