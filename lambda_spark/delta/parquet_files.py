"""The Parquet files of Delta tables: written by Spark's tasks from Arrow batches, read as Arrow datasets.

Own code, since neither delta-rs nor PyArrow writes files with Delta's statistics without a commit, to several tables
at once.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

from functools import reduce

from lambda_spark.time_ranges import UTC, TimeRange, is_midnight

WINDOW = "window"


# A window's other columns, of which a table has the first two or all.
_COLUMNS = ("window_from", "window_to", "bucket")


def window_key(window: TimeRange, bucket: str | None = None) -> str:
    """Return the text of a window, such as `2019-11-24_2019-12-01_day`; instants inside a day as 20191124T103000Z."""
    name = _day if all(map(is_midnight, window)) else _instant
    parts = [*map(name, window), *([bucket.replace(" ", "-")] if bucket else [])]
    return "_".join(parts)


def with_window(rows: pa.Table) -> pa.Table:
    """Append `window`, computed from `window_from`, `window_to` and, if the rows have it, `bucket`."""
    columns = [name for name in _COLUMNS if name in rows.column_names]
    keys = pa.nulls(len(rows), pa.string())
    for row in rows.select(columns).group_by(columns).aggregate([]).to_pylist():
        start, end, *bucket = row.values()
        is_row = reduce(pc.and_, (pc.equal(rows[name], pa.scalar(row[name], rows[name].type)) for name in columns))
        keys = pc.if_else(is_row, window_key(TimeRange(start, end), *bucket), keys)
    return rows.append_column(WINDOW, keys)


def _day(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d")


def _instant(instant: datetime) -> str:
    utc = instant.astimezone(UTC)
    return f"{utc:%Y%m%dT%H%M%S}{f'.{utc.microsecond:06}' if utc.microsecond else ''}Z"


# What a commit needs of a written file. One row per file: the position of its table among those that are written to,
# and the value of the table's only partition column.
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

# Turns batches into the rows of the tables: one Arrow table for each of them, in their order, any number of times.
RowBuilder = Callable[[Iterator[pa.RecordBatch]], Iterator[Sequence[pa.Table]]]

_INSTANT = pa.timestamp("us", "UTC")

# A task holds at most so many rows, some 100 MB, before it writes them as a row group of each file.
_ROWS_HELD = 500_000
_ROWS_READ = 65_536


class Target(NamedTuple):
    """A table to write to: its folder or URI, its columns, and its partition column."""

    folder: str
    schema: pa.Schema
    partitioned_by: str | None = None


class FileWriter:
    """Writes rows to one file per partition value; `finish` returns a row per file, columns as WRITTEN."""

    def __init__(self, target: Target, place: int = 0) -> None:
        self._target = target
        self._files, self._folder = open_root(target.folder)
        self._place = place
        self._held: list[pa.Table] = []
        self._writers: dict[str | None, tuple[str, pq.ParquetWriter]] = {}

    def write(self, rows: pa.Table) -> None:
        """Take rows, whose columns may be in any order; `window` may be missing."""
        self._held.append(conform(rows, self._target.schema))
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
        values, others = pc.unique(rows[column]), rows.drop_columns(column)
        for value in values:
            # Recommendations are of one window: millions of rows needn't be copied.
            of_value = others if len(values) == 1 else others.filter(pc.equal(rows[column], value))
            self._write_group(str(value), of_value)

    def _write_group(self, value: str | None, rows: pa.Table) -> None:
        if not len(rows):
            return
        if value not in self._writers:
            folder = f"{self._target.partitioned_by}={value}/" if value is not None else ""
            path = f"{folder}part-{uuid4()}.zstd.parquet"
            file = f"{self._folder}/{path}"
            # On object storage a folder is only a part of a name.
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


def write_files(rows: "DataFrame", targets: Mapping[int, Target], build_rows: RowBuilder) -> "DataFrame":
    """Write the rows of the targets, given by their position, when the result is collected.

    One row per file, columns as WRITTEN.
    """

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        freeze_gc()
        writers = [FileWriter(target, place) for place, target in targets.items()]
        for tables in build_rows(batches):
            for place, writer in zip(targets, writers, strict=True):
                writer.write(tables[place])
        yield from (writer.finish() for writer in writers)

    return rows.mapInArrow(write, WRITTEN)


def conform(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the columns of the schema, in its order and of its types; `window` is computed if the rows lack it."""
    if WINDOW in schema.names and WINDOW not in rows.column_names:
        others = pa.schema([field for field in schema if field.name != WINDOW])
        return with_window(conform(rows, others)).select(schema.names)
    return pa.Table.from_arrays([rows[field.name].cast(field.type) for field in schema], schema=schema)


def as_map_in_arrow(build_rows: RowBuilder) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return a function for `mapInArrow` that makes the rows of a single table."""

    def rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for (table,) in build_rows(batches):
            yield from table.to_batches()

    return rows


def unchanged_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table]]:
    """Return the batches as the rows of a single table."""
    return ((pa.Table.from_batches([batch]),) for batch in batches)


def open_parquet(
    paths: Sequence[str],
    schema: pa.Schema | None = None,
    partitioned_by: str | None = None,
    values: Iterable[pa.Scalar] = (),
) -> dataset.Dataset:
    """Return the rows of the files, read as far as a query needs them, by the schema or else that of the first file.

    The partition column isn't in the files: each file has one of the values, by which filters skip whole files.
    """
    if not paths and schema is not None:
        return dataset.dataset(schema.empty_table())
    system, places = open_paths(paths)
    if schema is None:
        first = dataset.dataset(places[:1], format="parquet", filesystem=system).schema
        # Spark's own files, as the first version wrote them, store instants as INT96, which have no time zone.
        schema = pa.schema(
            [field.with_type(_INSTANT) if pa.types.is_timestamp(field.type) else field for field in first]
        )
    partitions = [dataset.field(partitioned_by) == value for value in values] if partitioned_by else None
    return dataset.FileSystemDataset.from_paths(places, schema, dataset.ParquetFileFormat(), system, partitions)


def read_batches(paths: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield columns of the files, one file after another in small batches; a dataset would read far ahead."""
    system, places = open_paths(paths) if paths else (None, [])
    for place in places:
        with pq.ParquetFile(place, filesystem=system, pre_buffer=False) as file:
            yield from file.iter_batches(_ROWS_READ, columns=list(columns), use_threads=False)


def _statistics(metadata: pq.FileMetaData) -> dict[str, Any]:
    """Return the number of rows, and of each number or time the least, the largest and the number of NULLs.

    As in Delta's protocol, "Per-file Statistics". Texts are left out: no query here looks for a range of them.
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
    """Return a value as Delta's statistics have it: instants cut to milliseconds, of which readers widen a largest."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
