"""The records of event files as messages, many at a time: the same as lambda_spark.messages makes one by one."""

from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from lambda_spark.errors import EventFileError
from lambda_spark.file_lines import read_lines
from lambda_spark.file_ranges import FileRange
from lambda_spark.partitioning import partitions_of
from lambda_spark.schemas import EVENT_COLUMNS

# One row per message, in the order of the lines of each partition.
MESSAGES = "line bigint, partition int, key binary, value binary"

# What comes around a message's value, with its key and its headers, stays below this.
_AROUND_VALUE = 1_024


class Share(NamedTuple):
    """The part of a topic that one task writes.

    partitions: the number that the topic has.
    lines: of each partition that is the task's, the last line that it holds already.
    max_bytes: the size of a message that the topic still takes.
    """

    partitions: int
    lines: Mapping[int, int]
    max_bytes: int


def read_messages(part: FileRange, share: Share) -> Iterator[tuple[pa.Table, int]]:
    """Yield the share's messages that the topic does not hold yet, and how many it does, table by table.

    Rows as in MESSAGES. Raises EventFileError where the file cannot be read, or a message is too large.
    """
    lasts = np.full(share.partitions, np.iinfo(np.int64).max)
    for partition, line in share.lines.items():
        lasts[partition] = line
    for lines in read_lines(part):
        numbers, partitions = lines["source_line"].to_numpy(), _partitions_of(lines, share.partitions)
        is_new = numbers > lasts[partitions]
        passed = np.isin(partitions[~is_new], list(share.lines)).sum()
        messages = _messages_of(lines.filter(pa.array(is_new)), partitions[is_new])
        _check_size(messages, share.max_bytes, part)
        yield messages, int(passed)


def _partitions_of(lines: pa.Table, partitions: int) -> NDArray[np.int32]:
    by_user = partitions_of(lines["user_id"].combine_chunks(), partitions)
    by_line = lines["source_line"].to_numpy() % partitions
    return np.where(lines["has_nine_fields"].to_numpy(), by_user, by_line).astype(np.int32)


def _messages_of(lines: pa.Table, partitions: NDArray[np.int32]) -> pa.Table:
    pieces, before = [], "{"
    escapes = _escapes(lines["value"])
    for name in EVENT_COLUMNS:
        text = lines[name]
        for letter, escaped in escapes.items():
            text = compute.replace_substring(text, letter, escaped)
        pieces += [f'{before}"{name}":"', text]
        before = '",'
    values = compute.coalesce(compute.binary_join_element_wise(*pieces, '"}', ""), lines["value"])
    return pa.table(
        {
            "line": lines["source_line"],
            "partition": pa.array(partitions),
            "key": lines["user_id"].cast(pa.binary()),
            "value": values.cast(pa.binary()),
        }
    )


def _escapes(texts: pa.ChunkedArray) -> dict[str, str]:
    """Return the letters among the texts that JSON has to escape, the backslash first, and what they become."""
    found: set[int] = set()
    for chunk in texts.chunks:
        letters = np.frombuffer(chunk.buffers()[2] or b"", np.uint8)
        found.update(letters[(letters < ord(" ")) | (letters == ord('"')) | (letters == ord("\\"))].tolist())
    in_order = sorted(map(chr, found), key=lambda letter: letter != "\\")
    return {letter: encode_basestring(letter)[1:-1] for letter in in_order}


def _check_size(messages: pa.Table, max_bytes: int, part: FileRange) -> None:
    sizes = compute.binary_length(messages["value"])
    largest = compute.max(sizes).as_py() or 0
    if largest > max_bytes - _AROUND_VALUE:
        line = messages["line"][compute.index(sizes, largest).as_py()]
        raise EventFileError(
            f"Line {line} of {part.path.name} has {largest:,} bytes, more than the topic takes in a message: "
            "remove the line, or raise the topic's max.message.bytes."
        )
