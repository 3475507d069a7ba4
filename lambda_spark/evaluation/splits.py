"""The time split: what is recommended as of an instant t is judged by what happens next."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lambda_spark.errors import TimeRangeError
from lambda_spark.time_ranges import DayHeld, TimeRange, complete_days, floor_to_bucket, parse_bucket

# A window has so many buckets, seven days by default; what follows is judged for one more.
_BUCKETS = 7


class Cut(NamedTuple):
    """An instant t in two ranges: the window before it, and the bucket from it on, by which is judged."""

    window: TimeRange
    judged: TimeRange


def find_cuts(days: Sequence[DayHeld], bucket: str, count: int, within: TimeRange | None = None) -> list[Cut]:
    """Return at most so many cuts, spread evenly over what is held, or over the part of it that is judged.

    Each has a whole window behind it, and is judged by a bucket of which the day is held, to its end. Raises
    TimeRangeError where there is none.
    """
    size = parse_bucket(bucket)
    first = floor_to_bucket(days[0].first_at, size)
    held, complete, newest = {day.day for day in days}, set(complete_days(days)), days[-1].last_at
    instants = [first + step * size for step in range(_BUCKETS, (newest - first) // size + 1)]
    found = [t for t in instants if t.date() in held and (t.date() in complete or t + size <= newest)]
    if within:
        found = [t for t in found if within.start <= t and t + size <= within.end]
    if not found:
        raise TimeRangeError(f"No {_BUCKETS} buckets ({bucket}) are followed by another one: choose a finer --bucket.")
    chosen = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
    ends = [found[place] for place in chosen]
    return [Cut(TimeRange(t - _BUCKETS * size, t), TimeRange(t, t + size)) for t in ends]
