"""Files below the data root, which is a local folder or a URI such as s3a://bucket/shop: Arrow reads and writes both.

What a URI needs (keys, region, address) is in the environment, by the names of AWS (AWS_ACCESS_KEY_ID, AWS_REGION,
AWS_ENDPOINT_URL): Spark, delta-rs and Arrow each look there. Runs on executors too.
"""

from collections.abc import Sequence
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs


def is_local(root: str) -> bool:
    """Say whether the root is a folder of this machine."""
    return "://" not in root


def checked_uri(uri: str) -> str:
    """Return the URI of a data root without a slash at its end.

    Raises ValueError where it could lead elsewhere, or holds a key, which would then stand in tables and logs.
    """
    address = urlsplit(uri)
    if "@" in address.netloc:
        raise ValueError("a URI is written into logs: leave the keys out, they belong into the environment")
    if not address.netloc and address.scheme != "file":
        raise ValueError("name the bucket, as in s3a://BUCKET/FOLDER")
    if not uri.isprintable() or set("?#%\\ ") & set(uri) or {".", ".."} & set(address.path.split("/")):
        raise ValueError("write it without . and .. between slashes, and without blanks and any of ? # % \\")
    return uri.rstrip("/")


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


def set_aside(folder: str) -> None:
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
