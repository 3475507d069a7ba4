"""What the log of the master dataset shows without reading an event: files, days, counts, and what changed since."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import pyarrow.compute as pc

from lambda_spark import engine
from lambda_spark.delta import tables
from lambda_spark.delta.coverage import OffsetRange, offsets_of
from lambda_spark.delta.file_tasks import EventFile, EventSlice, files_between, open_files
from lambda_spark.delta.tables import EVENTS, REJECTED_EVENTS, exists, files_of, path_of
from lambda_spark.errors import NotComputedError, TimeRangeError
from lambda_spark.schemas import Offsets
from lambda_spark.time_ranges import UTC, EventDay, format_instant

_DAY = "partition.event_date"
_OFFSETS_LOST = (
    f"`events` does not say how far it holds the topic any more: run {EVENTS.written_by} until a message comes."
)


@dataclass(frozen=True)
class Counts:
    """Messages of the topic as each layer counted them; None is a count that was not taken.

    `from_files` are those stored and rejected that came straight from files and not from the topic.
    """

    sent: int | None = None
    batch_received: int | None = None
    speed_received: int | None = None
    stored: int | None = None
    rejected: Mapping[str, int] = field(default_factory=dict)
    from_files: int = 0


def event_files(root: str, version: int | None = None, after: int | None = None) -> list[EventFile]:
    """Return the files of `events`, or of a version; with `after`, those that hold what was added after that version.

    If OPTIMIZE has rewritten a day since, its file holds the events from before, too.
    """
    folder, files = path_of(root, EVENTS), files_of(root, EVENTS, version).to_pylist()
    found = [EventFile(f"{folder}/{f['path']}", f["partition.event_date"], f["num_records"]) for f in files]
    if after is None:
        return found
    before = event_files(root, after)
    paths, unchanged = {file.path for file in before}, count_by_day(before).items() & count_by_day(found).items()
    days = {day for day, _ in unchanged}
    return [file for file in found if file.path not in paths and file.day not in days]


def slices_until(root: str, version: int | None, topic: str | None, reached: Offsets) -> list[EventSlice]:
    """Return the events of a version of the master dataset, and those added since from messages below the offsets."""
    stored = [EventSlice(event_files(root, version))] if version is not None else []
    if topic is None or not exists(root, EVENTS):
        return stored
    added = OffsetRange(topic, topic_offsets(root, version, topic), reached)
    return [*stored, EventSlice(event_files(root, after=version), added.condition())]


def topic_offsets(root: str, version: int | None, topic: str) -> Offsets:
    """Return the offsets below which a version of `events` holds all messages of the topic.

    Raises NotComputedError if the log does not say it any more.
    """
    if version is None:
        return {}
    lineage = tables.lineage_of(root, EVENTS, version)
    if lineage is None:
        stored, from_files = event_counts(root, version)
        if stored > from_files:
            raise NotComputedError(_OFFSETS_LOST)
    return offsets_of(lineage, topic)


def event_days(root: str, version: int | None = None, before: datetime | None = None) -> list[EventDay]:
    """Return the days with events in the master dataset, or a version, or before an instant, from Delta's statistics.

    Raises NotComputedError if there is no event, TimeRangeError if there is none before the instant.
    """
    if not exists(root, EVENTS):
        raise _no_events(root)
    aggregates = [("min.event_time", "min"), ("max.event_time", "max")]
    rows = files_of(root, EVENTS, version).group_by(_DAY).aggregate(aggregates).sort_by(_DAY).to_pylist()
    days = [EventDay(row[_DAY], row["min.event_time_min"], row["max.event_time_max"]) for row in rows]
    if not days:
        raise _no_events(root)
    if before is None:
        return days
    days = [day for day in days if day.first_at < before]
    if not days:
        raise TimeRangeError(f"No event is known from before {format_instant(before)}: ask for a later --as-of.")
    return [*days[:-1], days[-1]._replace(last_at=_newest_before(root, version, days[-1], before))]


def changed_days(root: str, after: int, until: int) -> list[date]:
    """Return the days that events were added to after one version of the master dataset, up to and with another.

    The log only grows, so these are the days with more events than before, whatever happened to its files.
    """
    if after >= until:
        return []
    before, now = (count_by_day(event_files(root, version)) for version in (after, until))
    return sorted(day for day, count in now.items() if count != before.get(day))


def count_by_day(files: Iterable[EventFile]) -> dict[date, int]:
    """Return the number of events of each day."""
    counts: Counter[date] = Counter()
    for file in files:
        counts[file.day] += file.row_count
    return dict(counts)


def event_counts(root: str, version: int | None = None) -> tuple[int, int]:
    """Return the number of events, and of those that came straight from files, in the master dataset or a version."""
    files = files_of(root, EVENTS, version) if exists(root, EVENTS) else None
    if not files:
        return 0, 0
    stored, from_topic = (pc.sum(files[name]).as_py() for name in ("num_records", "null_count.source_file"))
    return stored, stored - from_topic


def master_dataset_counts(root: str) -> Counts:
    """Count all stored events and all rejects, by reason, and how many of both came from files."""
    stored, stored_from_files = event_counts(root)
    rejected, rejected_from_files = _rejected(root)
    return Counts(stored=stored, rejected=rejected, from_files=stored_from_files + rejected_from_files)


def growth(before: Counts, after: Counts, received: int | None = None) -> Counts:
    """Return what was added between two counts of the master dataset, and what was received meanwhile."""
    stored, rejected = (after.stored or 0) - (before.stored or 0), Counter(after.rejected) - Counter(before.rejected)
    if received is None:
        received = stored + rejected.total()
    return Counts(batch_received=received, stored=stored, rejected=rejected)


def _no_events(root: str) -> NotComputedError:
    return NotComputedError(f"There are no events in {root} yet: run {EVENTS.written_by} first.")


def _newest_before(root: str, version: int | None, day: EventDay, before: datetime) -> datetime:
    """Return the time of the newest event of a day before an instant; the day has one."""
    if day.last_at < before:
        return day.last_at
    events = open_files(files_between(event_files(root, version), day.day, day.day))
    sql = f"SELECT max(event_time) AS newest FROM events WHERE event_time < TIMESTAMPTZ '{before.astimezone(UTC)}'"
    newest: datetime = engine.query(sql, events=events)["newest"][0].as_py()
    return newest


def _rejected(root: str) -> tuple[Counter[str], int]:
    if not exists(root, REJECTED_EVENTS):
        return Counter(), 0
    rejected = tables.read_arrow(root, REJECTED_EVENTS, ["reason", "source_file"])
    return Counter(rejected["reason"].to_pylist()), len(rejected) - rejected["source_file"].null_count
