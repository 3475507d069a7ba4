"""Where a message comes from: the event file and the line, as its headers say."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lambda_spark.files import count_data_lines, file_id


class Origin(NamedTuple):
    """An event file: its name, the id of its content, by which it is known, and the number of its last line."""

    file: bytes
    file_id: str
    last_line: int


def find_origins(files: Iterable[Path]) -> list[Origin]:
    """Return what the files are known by. Raises EventFileError where one cannot be read to its end."""
    return [Origin(os.fsencode(file.name), file_id(file), count_data_lines(file) + 1) for file in files]


def origin_headers(origin: Origin, line: int) -> list[tuple[str, bytes]]:
    """Return the headers of a message that comes from that line of the file."""
    return [("file", origin.file), ("file_id", origin.file_id.encode()), ("line", b"%d" % line)]
