"""The records of event files as Arrow tables: what lambda_spark.events.event_files calls a record, many at a time."""

from collections.abc import Iterator
from io import StringIO
from itertools import takewhile

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, csv

from lambda_spark.events.event_files import MAX_RECORD_LINES, FileRange, Record, open_bytes, reading, records_of
from lambda_spark.schemas import EVENT_COLUMNS

# What is read, judged and passed on at a time: some 60,000 records.
_BLOCK_BYTES = 8 * 1024 * 1024

# What is read record by record if the quick way can't.
_PIECE_BYTES = 64 * 1024
_BOM = b"\xef\xbb\xbf"

_AS_TEXT = csv.ConvertOptions(
    column_types=dict.fromkeys(EVENT_COLUMNS, pa.string()), null_values=[], strings_can_be_null=False
)

Positions = NDArray[np.intp]


def read_lines(part: FileRange) -> Iterator[pa.Table]:
    """Yield the records of the range, in order, as the relation that parsing.DECODE_LINES reads.

    Raises EventFileError if the file cannot be read.
    """
    rest, position, line = b"", part.start, part.line
    with reading(part.path), open_bytes(part.path) as file:
        file.seek(position)
        is_last = False
        while not is_last:
            block = file.read(min(max(_BLOCK_BYTES, len(rest)), part.end - position))
            position, is_last, data = position + len(block), not block, rest + block
            if is_last and not data.endswith(b"\n"):
                data += b"\n"
            tables, size, line = _read(data, len(data) if is_last else _safe_size(data), line, part)
            rest = data[size:]
            if tables:
                yield pa.concat_tables(tables)


def _safe_size(data: bytes) -> int:
    """Return the size of the data above the last lines, into which a record from further above might extend."""
    size = len(data)
    for _ in range(MAX_RECORD_LINES):
        size = data.rfind(b"\n", 0, max(size, 0))
    return size + 1


def _read(data: bytes, until: int, line: int, part: FileRange) -> tuple[list[pa.Table], int, int]:
    """Read the records that start before `until`. Returns them, the start of the next one, and its line."""
    tables, start, size = [], 0, _BLOCK_BYTES * 2
    while start < until:
        end = data.index(b"\n", min(start + size, until) - 1) + 1
        table = _quick_table(data[start:end], line, part)
        if table is not None:
            start, line = end, line + len(table)
        elif size > _PIECE_BYTES:
            size = _PIECE_BYTES
            continue
        else:
            ahead = _below(data, end, MAX_RECORD_LINES)
            records, lines = _careful_records(data[start:ahead], end - start, line, part)
            table, start, line = _table_of(records, part), _below(data, start, lines), line + lines
        tables.append(table)
    return tables, start, line


def _below(data: bytes, start: int, lines: int) -> int:
    """Return the start of the line `lines` below the one at `start`, or the end of the data."""
    for _ in range(lines):
        start = data.find(b"\n", start) + 1 or len(data)
    return start


def _quick_table(block: bytes, line: int, part: FileRange) -> pa.Table | None:
    """Return the records of whole lines, or None unless each is certainly a record with nine fields."""
    letters = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    # Arrow skips a byte order mark.
    if block.startswith(_BOM) or not _are_simple(letters, ends):
        return None
    try:
        texts = csv.read_csv(
            pa.py_buffer(block),
            csv.ReadOptions(use_threads=False, block_size=len(block), column_names=part.columns),
            convert_options=_AS_TEXT,
        )
    except pa.ArrowInvalid:
        return None
    # Empty lines, too, have been passed over.
    if len(texts) < len(ends):
        return None
    offsets = np.concatenate([[0], ends + 1]).astype(np.int32)
    lines = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(block))
    return pa.table(
        {
            "value": compute.ascii_rtrim(lines, "\r\n"),
            "has_nine_fields": pa.repeat(True, len(ends)),
            **_source(pa.array(np.arange(line, line + len(ends))), part),
            **{name: texts[name] for name in EVENT_COLUMNS},
        }
    )


def _are_simple(letters: NDArray[np.uint8], ends: Positions) -> bool:
    """Return True if carriage returns are only at line ends, and quotes only at both ends of a field in one line."""
    returns, quotes = np.flatnonzero(letters == ord("\r")), np.flatnonzero(letters == ord('"'))
    if len(quotes) % 2 or not (letters[returns + 1] == ord("\n")).all():
        return False
    first, last = quotes[::2], quotes[1::2]
    return bool(
        np.isin(letters[first - 1], list(b",\n")).all()
        and np.isin(letters[last + 1], list(b",\r\n")).all()
        and (np.searchsorted(ends, first) == np.searchsorted(ends, last)).all()
    )


def _careful_records(data: bytes, size: int, line: int, part: FileRange) -> tuple[list[Record], int]:
    """Return the records that start in the first `size` bytes, and the number of lines they and empty ones take."""
    lines = data.count(b"\n", 0, size)
    text = StringIO(data.decode("utf-8", "replace"), newline="\n")
    records = list(takewhile(lambda record: record.line < line + lines, records_of(text, part.columns, line)))
    reached = records[-1].line + records[-1].raw.count("\n") + 1 - line if records else 0
    return records, max(lines, reached)


def _table_of(records: list[Record], part: FileRange) -> pa.Table:
    nothing = (None,) * len(EVENT_COLUMNS)
    fields = [record.fields or nothing for record in records]
    return pa.table(
        {
            "value": pa.array([record.raw for record in records], pa.string()),
            "has_nine_fields": pa.array([record.fields is not None for record in records], pa.bool_()),
            **_source(pa.array([record.line for record in records], pa.int64()), part),
            **{
                name: pa.array([texts[position] for texts in fields], pa.string())
                for position, name in enumerate(EVENT_COLUMNS)
            },
        }
    )


def _source(lines: pa.Array, part: FileRange) -> dict[str, pa.Array]:
    return {"source_file": pa.repeat(part.path.name, len(lines)), "source_line": lines}
