"""Event files in stretches that can be read side by side. Runs on executors: standard library only."""

import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lambda_spark.files import MAX_RECORD_LINES, is_gzip, open_bytes, read_header, reading

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
    # Absolute, since an executor has a working directory of its own.
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
    """Yield where each range starts, and the end of the file."""
    end = file.seek(0, os.SEEK_END)
    yield start
    while (start := _next_start(file, start + size)) < end:
        yield start
    yield end


def _next_start(file: BinaryIO, position: int) -> int:
    """Return where a record is sure to start: below as many lines without a quote as one above them could go on for."""
    file.seek(position)
    file.readline()
    quiet = 0
    while quiet < MAX_RECORD_LINES - 1 and (line := file.readline()):
        quiet = 0 if b'"' in line else quiet + 1
    return file.tell()
