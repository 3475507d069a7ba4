"""The partitions that Kafka's producers choose for keys, many keys at a time. Runs on executors."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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
