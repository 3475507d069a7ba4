"""Of which days events are known, how far what is known reaches, and how far it did at an earlier moment."""

from datetime import datetime
from typing import NamedTuple

from lambda_spark import parsing
from lambda_spark.days import days_held
from lambda_spark.errors import TimeRangeError
from lambda_spark.event_files import open_files
from lambda_spark.known_events import KnownEvents
from lambda_spark.time_ranges import UTC, DayHeld, format_instant


class Boundary(NamedTuple):
    """How far an answer reaches, as people are shown it: the newest event of the master dataset, and of all known."""

    batch_upto: datetime | None
    seen_upto: datetime | None


def known_days(root: str, known: KnownEvents, before: datetime | None = None) -> list[DayHeld]:
    """Return the days of which events are known, or events before an instant, with the first and the last of each.

    Raises NotComputedError where there is none, TimeRangeError where there is none before the instant.
    """
    days = {held.day: held for held in days_held(root, known.version)} if known.files else {}
    later = known.later.group_by("event_date").aggregate([("event_time", "min"), ("event_time", "max")])
    for row in later.to_pylist():
        day, first, last = row["event_date"], row["event_time_min"], row["event_time_max"]
        held = days.get(day, DayHeld(day, first, last))
        days[day] = DayHeld(day, min(held.first_at, first), max(held.last_at, last))
    found = [days[day] for day in sorted(days)] or days_held(root)
    if before is None:
        return found
    found = [held for held in found if held.first_at < before]
    if not found:
        raise TimeRangeError(f"No event is known from before {format_instant(before)}: ask for a later --as-of.")
    return [*found[:-1], found[-1]._replace(last_at=_newest_before(known, found[-1], before))]


def newest_at(root: str, known: KnownEvents) -> datetime | None:
    """Return the time of the newest event that is known; None where there is none."""
    return known_days(root, known)[-1].last_at if known.files or known.later else None


def boundary(root: str, known: KnownEvents) -> Boundary:
    """Return how far what is known reaches."""
    batch_upto = days_held(root, known.version)[-1].last_at if known.files else None
    return Boundary(batch_upto, newest_at(root, known))


def _newest_before(known: KnownEvents, held: DayHeld, before: datetime) -> datetime:
    """Return the time of the newest event of a day before an instant; there is one."""
    if held.last_at < before:
        return held.last_at
    files = [file for file in known.files if file.day == held.day]
    sources = {"later": known.later, **({"stored": open_files(files)} if files else {})}
    times = " UNION ALL ".join(f"SELECT event_time FROM {name}" for name in sources)
    sql = f"SELECT max(event_time) AS newest FROM ({times}) WHERE event_time < TIMESTAMPTZ '{before.astimezone(UTC)}'"
    newest: datetime = parsing.run(parsing.connect().cursor(), sql, **sources)["newest"][0].as_py()
    return newest
