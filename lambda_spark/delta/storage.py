"""Files and locks under the data root, a local folder or a URI such as s3a://bucket/shop, by Arrow's file systems.

Own code, since Arrow's file systems have no call to read or write a whole file, and no lock. Spark, delta-rs and Arrow
each find keys, region and address in the environment, by the names of AWS (AWS_ACCESS_KEY_ID, AWS_REGION,
AWS_ENDPOINT_URL). Runs on executors too.
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
    # Arrow accepts only one of the names of S3.
    uri = root.replace("s3a://", "s3://", 1)
    opened: tuple[Any, str] = fs.FileSystem.from_uri(uri)
    return opened


def open_paths(paths: Sequence[str]) -> tuple[Any, list[str]]:
    """Return Arrow's file system, and the paths in it, of one or more paths below the same root."""
    system, first = open_root(paths[0])
    prefix = len(paths[0]) - len(first)
    return system, [path[prefix:] for path in paths]


def is_file(path: str) -> bool:
    """Return True if there is a file at the path."""
    system, place = open_root(path)
    return bool(system.get_file_info(place).type == fs.FileType.File)


def read_file(path: str) -> bytes | None:
    """Return the content of a file; None if it doesn't exist."""
    system, place = open_root(path)
    if system.get_file_info(place).type != fs.FileType.File:
        return None
    with system.open_input_file(place) as file:
        content: bytes = file.read()
    return content


def write_file(path: str, content: bytes) -> None:
    """Write a file at once, so that no reader sees half of it; create its folder if it doesn't exist."""
    system, place = open_root(path)
    system.create_dir(place.rpartition("/")[0])
    with system.open_output_stream(f"{place}.part") as file:
        file.write(content)
    system.move(f"{place}.part", place)


def file_names(folder: str) -> list[str]:
    """Return the names of the files in a folder; none if it doesn't exist."""
    system, place = open_root(folder)
    try:
        found = system.get_file_info(fs.FileSelector(place, allow_not_found=True))
    except FileNotFoundError:  # another process creates it at this moment
        return []
    return [file.base_name for file in found if file.type == fs.FileType.File]


def move_aside(folder: str) -> None:
    """Rename a folder, if it exists, to a free name beside it. On object storage it is copied, then deleted."""
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
    """Hold a lock file beside the path; raise the refusal if another process holds it. Object storage has no lock."""
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
