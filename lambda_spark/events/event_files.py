"""Event files: found, identified by their content, read record by record, and split into ranges read side by side.

What a record is, is defined here; events.file_lines reads the same records faster. Runs on executors: standard library
only.
"""

import csv
import gzip
import hashlib
import os
import sys
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO, cast

from lambda_spark.errors import EventFileError
from lambda_spark.schemas import EVENT_COLUMNS

_WIDTH = len(EVENT_COLUMNS)

# A quoted field may span lines, but a stray quote must not swallow the rest of the file.
MAX_RECORD_LINES = 100


class Record(NamedTuple):
    """One data record of an event file.

    line: the physical line on which it starts; the header is line 1.
    fields: its nine texts in the order of EVENT_COLUMNS, or None unless it has exactly nine fields.
    raw: its text without the line end. Bytes that aren't UTF-8 have become U+FFFD, here and in `fields`.
    """

    line: int
    fields: list[str] | None
    raw: str


def find_event_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files among `paths`, each once, in that order; a folder yields its csv and csv.gz files by name.

    Raises EventFileError if a path does not exist or a folder holds no such file.
    """
    return list(dict.fromkeys(file for path in paths for file in _files_at(path)))


def file_id(path: Path) -> str:
    """Return the name of the file's content: the first 16 hexadecimal digits of its SHA-256. Raises EventFileError."""
    digest = hashlib.sha256()
    with reading(path), path.open("rb") as file:
        for block in _blocks(file):
            digest.update(block)
    return digest.hexdigest()[:16]


def count_data_lines(path: Path) -> int:
    """Return the number of lines below the header, at a fraction of the cost of reading records. Raises EventFileError.

    There are as many records, unless lines are empty or records span several lines: then there are fewer.
    """
    line_ends, block = 0, b""
    with reading(path), open_bytes(path) as file:
        for block in _blocks(file):
            line_ends += block.count(b"\n")
    lines = line_ends + (not block.endswith(b"\n"))
    return max(lines - 1, 0)


def check_event_file(path: Path) -> None:
    """Raise EventFileError if the file cannot be read to its end, or its first line does not name the nine columns."""
    count_data_lines(path)
    read_header(path)


def read_header(path: Path) -> tuple[tuple[str, ...], int]:
    """Return the nine columns in the file's order, and the number of bytes of the line that names them.

    Raises EventFileError if the file cannot be read or its first line does not name the nine columns.
    """
    with reading(path), open_bytes(path) as file:
        line = file.readline()
    return _columns(line.decode("utf-8-sig", "replace"), path), len(line)


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records in the order of the file and in constant memory. Raises EventFileError, as read_header does."""
    columns, size = read_header(path)
    with reading(path), open_bytes(path) as file:
        file.seek(size)
        yield from records_of(TextIOWrapper(file, "utf-8", "replace", newline="\n"), columns, 2)


def records_of(text: TextIO, columns: Sequence[str], line: int) -> Iterator[Record]:
    """Yield the records of a text whose first line is number `line` of a file with these columns.

    An empty line isn't a record. Quoting is RFC 4180's; a record spans several lines only if that gives nine fields.
    The text must have newlines as its only line ends.
    """
    positions = [columns.index(column) for column in EVENT_COLUMNS]
    is_in_order = positions == sorted(positions)
    pushed_back: deque[str] = deque()
    number, height = line - 1, 1
    for first in _lines(text, pushed_back):
        number, height = number + height, 1
        raw = first.rstrip("\r\n")
        if '"' in raw:
            fields, quoted = _parse_quoted(first, text, pushed_back)
            raw, height = "".join(quoted).rstrip("\r\n"), len(quoted)
        elif raw:
            fields = raw.split(",")
        else:
            continue
        if len(fields) != _WIDTH:
            yield Record(number, None, raw)
        else:
            yield Record(number, fields if is_in_order else [fields[position] for position in positions], raw)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong in reading the file into an EventFileError."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise EventFileError(f"Cannot read {path} to its end ({error}): check the file, or fetch it again.") from error


def is_gzip(path: Path) -> bool:
    """Return True if the file is compressed, whatever its name."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def open_bytes(path: Path) -> BinaryIO:
    """Open what the file holds, unpacked."""
    return cast(BinaryIO, gzip.open(path)) if is_gzip(path) else path.open("rb")


def _files_at(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise EventFileError(f"There is no event file {path}: name a csv or csv.gz file, or a folder that holds some.")
    found = sorted(file for file in path.iterdir() if file.name.lower().endswith((".csv", ".csv.gz")))
    if not found:
        raise EventFileError(f"The folder {path} holds no csv or csv.gz file: name one that does, or the files.")
    return found


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(1 << 20):
        yield block


def _lines(text: TextIO, pushed_back: deque[str]) -> Iterator[str]:
    for line in text:
        yield line
        while pushed_back:
            yield pushed_back.popleft()


def _parse_quoted(first: str, text: TextIO, pushed_back: deque[str]) -> tuple[list[str], list[str]]:
    """Return the fields of the record that starts with `first`, and its lines; lines read in vain are pushed back."""
    ahead: list[str] = []

    def lines() -> Iterator[str]:
        yield first
        while len(ahead) < MAX_RECORD_LINES - 1 and (line := pushed_back.popleft() if pushed_back else text.readline()):
            ahead.append(line)
            yield line

    try:
        fields = next(csv.reader(lines(), strict=True))
    except csv.Error:
        fields = []
    if len(fields) != _WIDTH:
        pushed_back.extendleft(reversed(ahead))
        return [], [first]
    return fields, [first, *ahead]


def _columns(header: str, path: Path) -> tuple[str, ...]:
    names = tuple(name.strip(' "\r\n').lower() for name in header.split(","))
    if sorted(names) != sorted(EVENT_COLUMNS):
        raise EventFileError(_header_problem(names, header, path))
    return names


def _header_problem(names: Sequence[str], header: str, path: Path) -> str:
    remedy = f"its first line must be {','.join(EVENT_COLUMNS)} (in any order)."
    if not header:
        return f"{path} is empty: {remedy}"
    if not set(names) & set(EVENT_COLUMNS):
        return f"{path} has no header line, it starts with {header.strip()[:80]!r}: {remedy}"
    missing = ", ".join(column for column in EVENT_COLUMNS if column not in names) or "none"
    unexpected = ", ".join(repr(name) for name in (Counter(names) - Counter(EVENT_COLUMNS))) or "none"
    return f"{path} has not the nine columns (missing: {missing}; unexpected: {unexpected}): {remedy}"


# Large enough that starting a task costs little beside it, small enough to keep all cores busy to the end.
_RANGE_BYTES = 64 * 1024 * 1024
_BLOCK_BYTES = 1024 * 1024


class FileRange(NamedTuple):
    """A stretch of an event file across whose ends no record goes.

    columns: the nine columns in the file's order.
    start, end: bytes of what the file holds, unpacked and with its header; `end` may lie beyond it.
    line: the number of the line at `start`; the header is line 1.
    """

    path: Path
    columns: tuple[str, ...]
    start: int
    end: int
    line: int


def whole_file(path: Path) -> FileRange:
    """Return all that is below the file's header. Raises EventFileError as read_header does."""
    columns, size = read_header(path)
    # Absolute, since an executor has another working directory.
    return FileRange(path.absolute(), columns, size, sys.maxsize, 2)


def plan_ranges(path: Path, size: int = _RANGE_BYTES) -> list[FileRange]:
    """Cut what is below the file's header into ranges of about `size` bytes, at least one. Reads the file once.

    A gzip file stays whole, since it can be read from its beginning only; so does one with quotes all over, since only
    far enough from a quote a record is sure to end with its line. Raises EventFileError as read_header does.
    """
    whole = whole_file(path)
    if is_gzip(path):
        return [whole]
    ranges, line = [], whole.line
    with reading(path), open_bytes(path) as file:
        for start, end in pairwise(_cuts(file, whole.start, size)):
            ranges.append(whole._replace(start=start, end=end, line=line))
            line += sum(block.count(b"\n") for block in read_blocks(file, start, end, _BLOCK_BYTES))
    return ranges


def read_blocks(file: BinaryIO, start: int, end: int, size: int) -> Iterator[bytes]:
    """Yield what lies from `start` to `end`, or to the end of the file, in blocks of that size."""
    file.seek(start)
    while block := file.read(min(size, end - start)):
        start += len(block)
        yield block


def _cuts(file: BinaryIO, start: int, size: int) -> Iterator[int]:
    """Yield the start of each range, and the end of the file."""
    end = file.seek(0, os.SEEK_END)
    yield start
    while (start := _next_start(file, start + size)) < end:
        yield start
    yield end


def _next_start(file: BinaryIO, position: int) -> int:
    """Return the start of a line that certainly starts a record: far enough below the last quote."""
    file.seek(position)
    file.readline()
    quiet = 0
    while quiet < MAX_RECORD_LINES - 1 and (line := file.readline()):
        quiet = 0 if b'"' in line else quiet + 1
    return file.tell()
