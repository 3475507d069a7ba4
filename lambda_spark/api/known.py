"""What is known at a moment, as far as counts and windows follow from it."""

from collections import Counter
from collections.abc import Hashable, Mapping
from datetime import date, datetime
from typing import NamedTuple

from lambda_spark import tables
from lambda_spark.days import event_counts
from lambda_spark.known_days import Boundary, boundary, known_days
from lambda_spark.known_events import open_live
from lambda_spark.merged_activity import KnownCounts, known_counts
from lambda_spark.tables import EVENTS, LIVE_ACTIVITY, PRODUCT_ACTIVITY
from lambda_spark.time_ranges import DayHeld, TimeRange

_READ = (EVENTS, PRODUCT_ACTIVITY, LIVE_ACTIVITY)


class Known(NamedTuple):
    """The events and their counts, the days they are of, how many there are of each, and how far both layers reach.

    `versions` are those of the tables that were read, by name; None where a table was not there.
    """

    counts: KnownCounts
    days: list[DayHeld]
    per_day: Mapping[date, int]
    upto: Boundary
    versions: Mapping[str, int | None]

    def token(self, window: TimeRange) -> Hashable:
        """Return what is another as soon as one more event of the window is known."""
        days = (day for day in sorted(self.per_day) if window.start.date() <= day <= window.end.date())
        return tuple((day, self.per_day[day]) for day in days)


class Asked(NamedTuple):
    """A window, and the moment as of which it is answered; None is all that is known."""

    range: TimeRange
    bucket: str
    as_of: datetime | None = None

    def known_range(self) -> TimeRange:
        """Return the part of the window that lies before the moment."""
        return TimeRange(self.range.start, min(self.range.end, self.as_of) if self.as_of else self.range.end)


def read_known(root: str) -> Known:
    """Read what is known now. Raises NotComputedError where there is no event yet."""
    versions = {table.name: tables.find_version(root, table) for table in _READ}
    counts = known_counts(root, open_live(root))
    events = counts.events
    per_day = Counter(event_counts(root, events.version) if events.version is not None else {})
    per_day.update(events.later["event_date"].to_pylist())
    return Known(counts, known_days(root, events), per_day, boundary(root, events), versions)


def has_changed(root: str, known: Known) -> bool:
    """Say whether a table has another version than the one that was read, by a look at one file of each."""
    return any(tables.has_version(root, table, after(known.versions[table.name])) for table in _READ)


def after(version: int | None) -> int:
    """Return the version that comes after one, or after none."""
    return 0 if version is None else version + 1
