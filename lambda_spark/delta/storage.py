"""Files below the data root, which is a local folder or a URI such as s3a://bucket/shop: Arrow reads and writes both.

What a URI needs (keys, region, address) is in the environment, by the names of AWS (AWS_ACCESS_KEY_ID, AWS_REGION,
AWS_ENDPOINT_URL): Spark, delta-rs and Arrow each look there. Runs on executors too.

Work that two processes must not do at once.
"""

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from pyarrow import fs

from lambda_spark.errors import LambdaSparkError
from lambda_spark.schemas import is_local


def open_root(root: str) -> tuple[Any, str]:
    """Return Arrow's file system, and the path of the root in it."""
    # Arrow knows S3 by one of its names only.
    uri = root.replace("s3a://", "s3://", 1)
    opened: tuple[Any, str] = fs.FileSystem.from_uri(uri)
    return opened


def open_paths(paths: Sequence[str]) -> tuple[Any, list[str]]:
    """Return Arrow's file system, and the paths in it, of at least one that lie below the same root."""
    system, first = open_root(paths[0])
    prefix = len(paths[0]) - len(first)
    return system, [path[prefix:] for path in paths]


def is_file(path: str) -> bool:
    """Say whether there is a file at the path."""
    system, place = open_root(path)
    return bool(system.get_file_info(place).type == fs.FileType.File)


def read_file(path: str) -> bytes | None:
    """Return what a file holds, None where there is none."""
    system, place = open_root(path)
    if system.get_file_info(place).type != fs.FileType.File:
        return None
    with system.open_input_file(place) as file:
        content: bytes = file.read()
    return content


def write_file(path: str, content: bytes) -> None:
    """Write a file in a folder that may not be there yet, so that nobody finds half of it."""
    system, place = open_root(path)
    system.create_dir(place.rpartition("/")[0])
    with system.open_output_stream(f"{place}.part") as file:
        file.write(content)
    system.move(f"{place}.part", place)


def file_names(folder: str) -> list[str]:
    """Return the names of the files in a folder; none where there is no folder."""
    system, place = open_root(folder)
    try:
        found = system.get_file_info(fs.FileSelector(place, allow_not_found=True))
    except FileNotFoundError:  # it is being made just now
        return []
    return [file.base_name for file in found if file.type == fs.FileType.File]


def move_aside(folder: str) -> None:
    """Rename the folder, if there is one, to one beside it. On object storage it is copied first: nothing is lost."""
    system, place = open_root(folder)
    if system.get_file_info(place).type == fs.FileType.NotFound:
        return
    names = (f"{place}.set-aside-{number}" for number in count(1))
    free = next(name for name in names if system.get_file_info(name).type == fs.FileType.NotFound)
    if is_local(folder):
        system.move(place, free)
    else:
        fs.copy_files(place, free, source_filesystem=system, destination_filesystem=system)
        system.delete_dir(place)


@contextmanager
def exclusive_lock(path: str, refusal: LambdaSparkError) -> Iterator[None]:
    """Hold the lock beside the path; raise the refusal where another process does. On object storage there is none."""
    if not is_local(path):
        yield
        return
    file = Path(f"{path}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield
