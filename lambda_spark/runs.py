"""Rows that stand together by their keys, as NumPy arrays: where a run begins, and the place of each row in its run."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_new(*keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Say of each row whether a run begins with it: whether it differs from the one before."""
    differs = np.ones(len(keys[0]), dtype=bool)
    differs[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return differs


def places(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the place of each row in its run: 0, 1 and so on."""
    starts = np.flatnonzero(is_new(*keys))
    count = len(keys[0])
    place: NDArray[np.int64] = np.arange(count) - np.repeat(starts, np.diff(starts, append=count))
    return place
