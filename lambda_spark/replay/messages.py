"""The records of event files as messages of the topic: one by one, or as Arrow tables, with the same result.

The tables are for executors. Their murmur2 is own code: kafka-python needs 2.8 microseconds for a key, more than the
bulk replay needs for a whole record; NumPy needs 0.1.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from kafka.partitioner.default import murmur2
from numpy.typing import NDArray
from pyarrow import compute

from lambda_spark.errors import EventFileError
from lambda_spark.events.event_files import FileRange, Record
from lambda_spark.events.file_lines import read_lines
from lambda_spark.schemas import EVENT_COLUMNS

_USER_ID = EVENT_COLUMNS.index("user_id")

# Four times as fast as json.dumps of a dict, with the same result.
_JSON = "{" + ",".join(f'"{column}":%s' for column in EVENT_COLUMNS) + "}"

# One row per message, in the order of the lines of each partition.
MESSAGES = "line bigint, partition int, key binary, value binary"

# The rest of a message, its key and its headers, stays below this size.
_AROUND_VALUE = 1_024

# Of murmur2, as Kafka's producers use it.
_SEED, _M, _R = 0x9747B28C, np.uint32(0x5BD1E995), np.uint32(24)
_WORD = 4
Hashes = NDArray[np.uint32]


class Message(NamedTuple):
    """The message of a record: JSON of its nine texts as they are, with its user id as key.

    A record without nine fields becomes its raw text, without a key: ingest rejects it with its reason.
    """

    line: int
    partition: int
    key: bytes | None
    value: bytes


class PartitionShare(NamedTuple):
    """The partitions of a topic that one task writes.

    partitions: the number of partitions of the topic.
    lines: for each of the task's partitions, the last line that is in it already.
    max_bytes: the size of the largest message that the topic accepts.
    """

    partitions: int
    lines: Mapping[int, int]
    max_bytes: int


def partition_of(record: Record, partitions: int) -> int:
    """Return the partition that any Kafka producer would choose for the record's user id; without one, by its line."""
    if record.fields is None:
        return record.line % partitions
    return _partition_of_key(record.fields[_USER_ID], partitions)


def message_of(record: Record, partition: int) -> Message:
    """Return the message for that partition."""
    if record.fields is None:
        return Message(record.line, partition, None, record.raw.encode())
    value = _JSON % tuple(map(encode_basestring, record.fields))
    return Message(record.line, partition, record.fields[_USER_ID].encode(), value.encode())


def read_messages(part: FileRange, share: PartitionShare) -> Iterator[tuple[pa.Table, int]]:
    """Yield tables of the share's messages that are not in the topic yet, and the number of those that are.

    Rows as in MESSAGES. Raises EventFileError if the file can't be read or a message is too large.
    """
    lasts = np.full(share.partitions, np.iinfo(np.int64).max)
    for partition, line in share.lines.items():
        lasts[partition] = line
    for lines in read_lines(part):
        numbers, partitions = lines["source_line"].to_numpy(), _partitions_of(lines, share.partitions)
        is_new = numbers > lasts[partitions]
        skipped = np.isin(partitions[~is_new], list(share.lines)).sum()
        messages = _messages_of(lines.filter(pa.array(is_new)), partitions[is_new])
        _check_size(messages, share.max_bytes, part)
        yield messages, int(skipped)


def key_partitions(keys: pa.Array, partitions: int) -> Hashes:
    """Return the partition that any Kafka producer would choose for each key (text or bytes); undefined for NULL."""
    keys = keys.cast(pa.binary())
    offsets: NDArray[np.int32] = np.frombuffer(keys.buffers()[1], np.int32)[keys.offset :][: len(keys) + 1]
    letters: NDArray[np.uint8] = np.frombuffer(keys.buffers()[2] or b"", np.uint8)
    lengths, hashes = np.diff(offsets), np.zeros(len(keys), np.uint32)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        hashes[rows] = _murmur2(letters[offsets[rows, None] + np.arange(length)].astype(np.uint32))
    numbers: Hashes = (hashes & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)
    return numbers


@lru_cache(maxsize=100_000)
def _partition_of_key(key: str, partitions: int) -> int:
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def _partitions_of(lines: pa.Table, partitions: int) -> NDArray[np.int32]:
    by_user = key_partitions(lines["user_id"].combine_chunks(), partitions)
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
    """Return the letters in the texts that JSON must escape, the backslash first, with their escapes."""
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
            f"Line {line} of {part.path.name} has {largest:,} bytes, more than the topic accepts in a message: "
            "remove the line, or raise the topic's max.message.bytes."
        )


def _murmur2(keys: Hashes) -> Hashes:
    """Return Kafka's murmur2 of keys of one length, given as a row per key and a column per byte, in 32 bits."""
    count, length = keys.shape
    hashes: Hashes = np.full(count, _SEED ^ length, np.uint32)
    words = length // _WORD * _WORD
    for start in range(0, words, _WORD):
        word = _packed(keys[:, start : start + _WORD]) * _M
        hashes = hashes * _M ^ (word ^ word >> _R) * _M
    if words < length:
        hashes = (hashes ^ _packed(keys[:, words:])) * _M
    hashes = (hashes ^ hashes >> np.uint32(13)) * _M
    hashes ^= hashes >> np.uint32(15)
    return hashes


def _packed(letters: Hashes) -> Hashes:
    """Return up to four bytes as one number, the first byte lowest."""
    packed: Hashes = letters[:, 0]
    for number in range(1, letters.shape[1]):
        packed = packed | letters[:, number] << np.uint32(8 * number)
    return packed
