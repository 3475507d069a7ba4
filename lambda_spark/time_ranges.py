"""Time ranges and buckets: half open, UTC. What a user may ask for, and what is answered by default."""

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import NamedTuple

from lambda_spark.errors import TimeRangeError

UTC = timezone.utc
DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Those that an event may be of (lambda_spark.events.parsing): a bucket can be added to each without an overflow.
_YEARS = range(1900, 2200)
_UNITS = {"day": DAY, "hour": timedelta(hours=1), "minute": timedelta(minutes=1)}

# Tried from the largest on if the data spans less than two complete days.
_FINER_BUCKETS = ("hour", "10 minutes", "5 minutes", "minute")
_ENOUGH_BUCKETS = 7

# An event of its last hour makes a day complete: an hour without events is taken as seen.
_UNSEEN = timedelta(hours=1)


class TimeRange(NamedTuple):
    """The instants t with start <= t < end."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"[{format_instant(self.start)}, {format_instant(self.end)})"


class EventDay(NamedTuple):
    """A day of which the master dataset holds events, with its first and last event time."""

    day: date
    first_at: datetime
    last_at: datetime


class Request(NamedTuple):
    """A range to compute, its bucket, and notes about it for the user."""

    range: TimeRange
    bucket: str
    notes: tuple[str, ...] = ()


def parse_instant(text: str) -> datetime:
    """Read a date or an ISO 8601 instant; UTC unless it says otherwise. Raises TimeRangeError."""
    try:
        instant = datetime.fromisoformat(re.sub(r"( ?UTC|Z)$", "+00:00", text.strip()))
        utc = instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise TimeRangeError(f"{text!r} is no date or instant: write 2019-11-01 or 2019-11-01T12:00:00.") from error
    if utc.year not in _YEARS:
        raise TimeRangeError(f"{text!r} is in no year of events: write one from {_YEARS[0]} to {_YEARS[-1]}.")
    return utc


def parse_bucket(text: str) -> timedelta:
    """Read a bucket size: day, hour, `10 minutes` and the like. Raises TimeRangeError."""
    match = re.fullmatch(r"\s*(?:(\d{1,5})\s+)?(day|hour|minute)s?\s*", text)
    size = int(match[1] or 1) * _UNITS[match[2]] if match else timedelta(0)
    if not timedelta(0) < size <= DAY:
        raise TimeRangeError(f"{text!r} is no bucket: write day, hour, or an interval such as '10 minutes'.")
    return size


def bucket_name(size: timedelta) -> str:
    """Write a bucket size the one way that tables hold it: day, hour, 6 hours, 10 minutes."""
    unit = next(name for name, length in _UNITS.items() if size % length == timedelta(0))
    count = size // _UNITS[unit]
    return unit if count == 1 else f"{count} {unit}s"


def check_range(asked: TimeRange, bucket: str) -> TimeRange:
    """Return the range if it runs forward over at least two whole buckets. Raises TimeRangeError."""
    size, length = parse_bucket(bucket), asked.end - asked.start
    if length <= timedelta(0):
        start, end = map(format_instant, asked)
        raise TimeRangeError(f"--from {start} is not before --to {end}: name a later --to.")
    if length % size:
        counts = sorted({max(2, length // size + i) for i in (0, 1)})
        nearest = " or ".join(str(TimeRange(asked.start, asked.start + count * size)) for count in counts)
        raise TimeRangeError(f"{asked} is no whole number of buckets ({bucket}): ask for the nearest, {nearest}.")
    if length < 2 * size:
        raise TimeRangeError(f"{asked} is a single bucket ({bucket}), and a trend needs two: choose a finer bucket.")
    return asked


def check_held(asked: TimeRange, days: Sequence[EventDay]) -> tuple[str, ...]:
    """Return a note if a range reaches past the data. Raises TimeRangeError if it is wholly outside."""
    first, last = days[0].first_at, days[-1].last_at
    held = f"{format_instant(first)} to {format_instant(last)}"
    if asked.end <= first or asked.start > last:
        raise TimeRangeError(f"The range {asked} is outside the data, which runs from {held}: ask within it.")
    if asked.start.date() < first.date() or asked.end > last + _UNSEEN:
        return (f"The range {asked} reaches past the data ({held}): answered with what is known.",)
    return ()


def complete_days(days: Sequence[EventDay]) -> list[date]:
    """Return the days held that are complete: an event of their last hour or of a later day has been seen."""
    newest = days[-1].last_at
    return [held.day for held in days if newest >= end_of(held.day) - _UNSEEN]


def default_request(days: Sequence[EventDay], length: int, bucket: str) -> Request:
    """Return the last `length` complete days; finer buckets over the newest data if these hold fewer than two buckets.

    Raises TimeRangeError if the days are not a whole number of buckets, or if all data lies within a few minutes.
    """
    complete = complete_days(days)
    if complete:
        end = end_of(complete[-1])
        start = max(end - length * DAY, start_of(days[0].day))
        if sum(start <= start_of(day) for day in complete) * DAY >= 2 * parse_bucket(bucket):
            return Request(check_range(TimeRange(start, end), bucket), bucket)
    return _finer_request(days[-1], bucket)


def default_windows(days: Sequence[EventDay], length: int) -> list[TimeRange]:
    """Return every window of `length` days that ends at a complete day held and starts within the data."""
    first = start_of(days[0].day)
    ends = [end_of(day) for day in complete_days(days)]
    return [TimeRange(end - length * DAY, end) for end in ends if end - length * DAY >= first]


def is_midnight(instant: datetime) -> bool:
    """Return True if the instant is a midnight in UTC."""
    return instant == start_of(instant.astimezone(UTC).date())


def floor_to_bucket(instant: datetime, size: timedelta) -> datetime:
    """Return the start of the bucket that holds the instant; buckets are counted from midnight on."""
    midnight = start_of(instant.date())
    return midnight + (instant - midnight) // size * size


def micros(instant: datetime) -> int:
    """Return the microseconds since 1970."""
    return (instant - _EPOCH) // MICROSECOND


def instant(micros: int) -> datetime:
    """Return the instant so many microseconds after 1970 began."""
    return _EPOCH + timedelta(microseconds=micros)


def format_instant(instant: datetime) -> str:
    """Write an instant in UTC, as a date if it is midnight."""
    utc = instant.astimezone(UTC)
    return utc.strftime("%Y-%m-%d") if utc.time() == time(0) else utc.strftime("%Y-%m-%dT%H:%M:%S")


def _finer_request(newest: EventDay, bucket: str) -> Request:
    for finer in (bucket, *_FINER_BUCKETS):
        size = parse_bucket(finer)
        start, end = floor_to_bucket(newest.first_at, size), floor_to_bucket(newest.last_at, size)
        enough = 2 if finer in (bucket, _FINER_BUCKETS[-1]) else _ENOUGH_BUCKETS
        if size <= parse_bucket(bucket) and (end - start) // size >= enough:
            note = f"The newest data spans no two complete days: answered in buckets ({finer}) over {newest.day}."
            return Request(TimeRange(start, end), finer, (note,))
    raise TimeRangeError(
        f"All events of {newest.day} are within two minutes of {format_instant(newest.last_at)}: "
        "a trend needs a longer stretch, name one with --from and --to."
    )


def start_of(day: date) -> datetime:
    """Return the midnight with which a day begins in UTC."""
    return datetime.combine(day, time(0), UTC)


def end_of(day: date) -> datetime:
    """Return the midnight with which a day ends in UTC."""
    return start_of(day) + DAY
