"""Which days the master dataset holds events of, and which of them have changed, from its log alone."""

from datetime import date

from lambda_spark import tables
from lambda_spark.errors import NotComputedError
from lambda_spark.tables import EVENTS
from lambda_spark.time_ranges import DayHeld

_DAY = "partition.event_date"


def days_held(root: str, version: int | None = None) -> list[DayHeld]:
    """Return the days of which the master dataset, or a version of it, holds events, from Delta's own statistics.

    Raises NotComputedError where there is no event yet.
    """
    if tables.exists(root, EVENTS):
        aggregates = [("min.event_time", "min"), ("max.event_time", "max")]
        rows = tables.files_of(root, EVENTS, version).group_by(_DAY).aggregate(aggregates).sort_by(_DAY).to_pylist()
        if rows:
            return [DayHeld(row[_DAY], row["min.event_time_min"], row["max.event_time_max"]) for row in rows]
    raise NotComputedError(f"There are no events in {root} yet: run {EVENTS.written_by} first.")


def changed_days(root: str, after: int, until: int) -> list[date]:
    """Return the days that events were added to after one version of the master dataset, up to and with another.

    A log only grows, so these are the days with more events than before, whatever became of its files.
    """
    if after >= until:
        return []
    before, now = (event_counts(root, version) for version in (after, until))
    return sorted(day for day, count in now.items() if count != before.get(day))


def event_counts(root: str, version: int) -> dict[date, int]:
    """Return the number of events of each day that a version of the master dataset holds."""
    return tables.count_by_day(tables.event_files(root, version))
