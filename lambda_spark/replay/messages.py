"""The partitions that Kafka's producers choose for keys, many keys at a time. Runs on executors.

A record of an event file as a message of the topic.

The records of event files as messages, many at a time: the same as lambda_spark.messages makes one by one.
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

_SEED, _M, _R = 0x9747B28C, np.uint32(0x5BD1E995), np.uint32(24)
_WORD = 4
Hashes = NDArray[np.uint32]


def partitions_of(keys: pa.Array, partitions: int) -> Hashes:
    """Return the partition of each key (text or bytes); that of NULL is without meaning."""
    keys = keys.cast(pa.binary())
    offsets: NDArray[np.int32] = np.frombuffer(keys.buffers()[1], np.int32)[keys.offset :][: len(keys) + 1]
    letters: NDArray[np.uint8] = np.frombuffer(keys.buffers()[2] or b"", np.uint8)
    lengths, hashes = np.diff(offsets), np.zeros(len(keys), np.uint32)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        hashes[rows] = _murmur2(letters[offsets[rows, None] + np.arange(length)].astype(np.uint32))
    numbers: Hashes = (hashes & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)
    return numbers


def _murmur2(keys: Hashes) -> Hashes:
    """Hash keys of one length: a row each, a letter in each column. Kafka's murmur2, in 32 bits that wrap around."""
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
    """Return up to four letters as one number, the first lowest."""
    packed: Hashes = letters[:, 0]
    for number in range(1, letters.shape[1]):
        packed = packed | letters[:, number] << np.uint32(8 * number)
    return packed


_USER_ID = EVENT_COLUMNS.index("user_id")

# Four times as fast as json.dumps of a dict, with the same result.
_JSON = "{" + ",".join(f'"{column}":%s' for column in EVENT_COLUMNS) + "}"


class Message(NamedTuple):
    """What the record of `line` becomes: JSON of its nine texts as they are, under its user id.

    A record without nine fields goes as its raw text, without a key: ingest rejects it with its reason.
    """

    line: int
    partition: int
    key: bytes | None
    value: bytes


def partition_of(record: Record, partitions: int) -> int:
    """Return the partition any Kafka producer would choose for the record's user id; by its line where it has none."""
    if record.fields is None:
        return record.line % partitions
    return _partition_of_key(record.fields[_USER_ID], partitions)


def message_of(record: Record, partition: int) -> Message:
    """Return the message for that partition."""
    if record.fields is None:
        return Message(record.line, partition, None, record.raw.encode())
    value = _JSON % tuple(map(encode_basestring, record.fields))
    return Message(record.line, partition, record.fields[_USER_ID].encode(), value.encode())


@lru_cache(maxsize=100_000)
def _partition_of_key(key: str, partitions: int) -> int:
    return int(murmur2(key.encode()) & 0x7FFFFFFF) % partitions


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
