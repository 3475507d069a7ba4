"""All events that are known when a question is asked: the master dataset's, and the speed layer's after them.

The boundary between both is a set of offsets, so that nothing is counted twice and a hole is seen
(docs/adr/0016-live-activity.md). What was known once can be had again from the master dataset alone, by the version and
the offsets that an answer's commit tells.

Of which days events are known, how far what is known reaches, and how far it did at an earlier moment.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow.dataset import Dataset, dataset

from lambda_spark import engine
from lambda_spark.delta import event_log, tables
from lambda_spark.delta.coverage import (
    current_start_offsets,
    is_covered_by,
    is_in_log,
    max_offsets,
    offsets_of,
    topic_of,
)
from lambda_spark.delta.event_log import EventFile, event_days, open_files
from lambda_spark.delta.storage import is_file
from lambda_spark.delta.tables import EVENTS, LIVE_ACTIVITY, RECENT_BRANDS
from lambda_spark.errors import NotComputedError, TimeRangeError
from lambda_spark.history.combining import LIVE_COLUMNS, LIVE_EVENTS
from lambda_spark.schemas import Offsets
from lambda_spark.time_ranges import UTC, EventDay, TimeRange, format_instant

_HOLE = (
    f"Some events are in neither `events` nor {LIVE_ACTIVITY.name}, and are not counted: run {EVENTS.written_by}, "
    "which goes on where it was in the topic."
)

_GONE = "The files of the events that the answer came from were removed since, by `make optimize`: ask again."
_OUT_OF_LOG = "The log of `events` does not go back to what the answer came from any more: ask again."
_UNTOLD = f"`events` does not tell how far it holds the topic any more: run {EVENTS.written_by} until a message comes."
_NOT_STORED = f"Not all events that the answer came from are in `events` yet: run {EVENTS.written_by}."


class KnownEvents(NamedTuple):
    """The files of a version of `events` (None where there is none), and `later`, rows as LIVE_EVENTS, not in these.

    `reached` is, per partition of the topic, the offset below which all is known; `notes` tell of what is missing.
    """

    version: int | None
    files: Sequence[EventFile]
    later: pa.Table
    topic: str | None
    reached: Offsets
    notes: tuple[str, ...]

    def lineage(self) -> dict[str, Any]:
        """Return what an answer's commit has to tell, so that `known_once` finds the same events again."""
        reached = {str(number): end for number, end in sorted(self.reached.items())}
        return {"events_version": self.version, "topic": self.topic, "reached": reached}


class LiveView(NamedTuple):
    """The realtime views at a moment: what they hold of a topic, per partition from `held` up to `reached`.

    `rows` are those of `live_activity`, `log_version` the version of `recent_brands`.
    """

    topic: str
    held: Offsets
    held_brands: Offsets
    reached: Offsets
    rows: Dataset
    log_version: int


class _Stretch(NamedTuple):
    """Messages of a topic, per partition from `start` up to but not with `end`."""

    topic: str
    start: Offsets
    end: Offsets

    def condition(self) -> str:
        """SQL of the events of the stretch."""
        parts = [
            f"(source_partition = {number} AND source_offset >= {self.start.get(number, 0)} AND source_offset < {end})"
            for number, end in self.end.items()
            if end > self.start.get(number, 0)
        ]
        return f"source_topic = '{self.topic}' AND ({' OR '.join(parts)})" if parts else "false"


def open_live(root: str) -> LiveView | None:
    """Open the realtime views, None where no stream has run.

    To be called before anything that covers them is looked at: what the speed layer drops meanwhile is in that.
    """
    if not tables.exists(root, RECENT_BRANDS):
        return None
    version = tables.version_of(root, RECENT_BRANDS)
    log = tables.lineage_of(root, RECENT_BRANDS, version)
    topic = topic_of(log)
    if topic is None:
        return None
    held, reached = current_start_offsets(root, topic, version), offsets_of(log, topic)
    events, brands = (held.get(view.name, {}) for view in (LIVE_ACTIVITY, RECENT_BRANDS))
    if not tables.exists(root, LIVE_ACTIVITY):
        return LiveView(topic, reached, brands, reached, dataset(LIVE_EVENTS.empty_table()), version)
    return LiveView(topic, events, brands, reached, tables.open_dataset(root, LIVE_ACTIVITY), version)


def known_events(root: str, live: LiveView | None, view_version: int | None = None) -> KnownEvents:
    """Return all that is known now.

    `view_version` is the version of `events` that a view was computed from: where `live_activity` has all that came
    after it, the boundary is the view's own; else it is the master dataset's present version, which has more.
    """
    version = tables.find_version(root, EVENTS)
    if live is None:
        return KnownEvents(version, _files(root, version), LIVE_EVENTS.empty_table(), None, {}, ())
    stored, covered = (covered_by(root, each, live.topic) for each in (version, view_version))
    is_live_enough = is_covered_by(live.held, covered) and is_covered_by(stored, live.reached)
    if view_version is not None and is_live_enough and not _has_files_since(root, view_version):
        version, stored = view_version, covered
    later = _select(_Stretch(live.topic, stored, live.reached), live.rows)
    notes = () if is_covered_by(live.held, stored) else (_HOLE,)
    return KnownEvents(version, _files(root, version), later, live.topic, max_offsets(stored, live.reached), notes)


def known_upto(
    root: str, live: LiveView | None, version: int | None, topic: str | None, reached: Offsets
) -> KnownEvents:
    """Return the events of a version, and all of the topic below some offsets; live ones where they are not stored.

    The version of the answer is the present one where that holds no more, so that little is left to come later.
    """
    if topic is None:
        return KnownEvents(version, _files(root, version), LIVE_EVENTS.empty_table(), None, {}, ())
    now = tables.find_version(root, EVENTS)
    stored = covered_by(root, now, topic)
    if now is not None and is_covered_by(stored, reached) and not _has_files_since(root, version):
        version = now
    covers = covered_by(root, version, topic)
    after = event_log.event_files(root, after=version) if version != now else []
    parts = [_select(_Stretch(topic, covers, reached), open_files(after))] if after else []
    if live is not None:
        parts.append(_select(_Stretch(topic, max_offsets(covers, stored), reached), live.rows))
    later = pa.concat_tables([LIVE_EVENTS.empty_table(), *parts])
    return KnownEvents(version, _files(root, version), later, topic, reached, ())


def select_within(known: KnownEvents, time_range: TimeRange, columns: str) -> tuple[str, dict[str, pa.Table | Dataset]]:
    """Return SQL that selects columns of the known events of a range, and the relations that it reads."""
    start, end = (instant.astimezone(UTC) for instant in time_range)
    files = [file for file in known.files if start.date() <= file.day <= end.date()]
    sources = {"later": known.later, **({"stored": open_files(files)} if files else {})}
    within = f"event_time >= TIMESTAMPTZ '{start}' AND event_time < TIMESTAMPTZ '{end}'"
    return " UNION ALL ".join(f"SELECT {columns} FROM {name} WHERE {within}" for name in sources), sources


def known_once(root: str, lineage: Mapping[str, Any]) -> KnownEvents:
    """Return what was known when an answer was given, by what its commit tells, from the master dataset alone.

    Its notes say where the master dataset does not hold all of it yet. Raises NotComputedError where they are gone.
    """
    if not is_in_log(root, lineage):
        raise NotComputedError(_OUT_OF_LOG)
    topic, reached = lineage["topic"], {int(number): end for number, end in lineage["reached"].items()}
    known = known_upto(root, None, lineage["events_version"], topic, reached)
    kept = {file.path for file in _files(root, tables.find_version(root, EVENTS))}
    if not all(file.path in kept or is_file(file.path) for file in known.files):
        raise NotComputedError(_GONE)
    is_stored = topic is None or is_covered_by(reached, covered_by(root, tables.version_of(root, EVENTS), topic))
    return known._replace(notes=() if is_stored else (_NOT_STORED,))


def _files(root: str, version: int | None) -> list[EventFile]:
    return event_log.event_files(root, version) if version is not None else []


def covered_by(root: str, version: int | None, topic: str) -> Offsets:
    """Return how far a version of the master dataset holds the topic. Raises NotComputedError where nobody can tell."""
    if version is None:
        return {}
    lineage = tables.lineage_of(root, EVENTS, version)
    if lineage is None:
        stored, from_files = event_log.event_counts(root, version)
        if stored > from_files:
            raise NotComputedError(_UNTOLD)
    return offsets_of(lineage, topic)


def _has_files_since(root: str, version: int | None) -> bool:
    """Say whether events have come from files after that version, which are in no topic."""
    before = event_log.event_counts(root, version)[1] if version is not None else 0
    return before != event_log.event_counts(root)[1]


def _select(stretch: _Stretch, rows: Dataset) -> pa.Table:
    """Return the events of a stretch, each once: a stream that began anew has told some of them twice."""
    columns = ", ".join(name for name in LIVE_COLUMNS if name != "event_date")
    sql = f"""
        SELECT DISTINCT ON (source_partition, source_offset) {columns}, CAST(event_time AS DATE) AS event_date
        FROM rows WHERE {stretch.condition()}
    """
    return engine.run_sql(engine.connect().cursor(), sql, rows=rows).select(LIVE_EVENTS.names).cast(LIVE_EVENTS)


class Boundary(NamedTuple):
    """How far an answer reaches, as people are shown it: the newest event of the master dataset, and of all known."""

    batch_upto: datetime | None
    seen_upto: datetime | None


def known_days(root: str, known: KnownEvents, before: datetime | None = None) -> list[EventDay]:
    """Return the days of which events are known, or events before an instant, with the first and the last of each.

    Raises NotComputedError where there is none, TimeRangeError where there is none before the instant.
    """
    days = {held.day: held for held in event_days(root, known.version)} if known.files else {}
    later = known.later.group_by("event_date").aggregate([("event_time", "min"), ("event_time", "max")])
    for row in later.to_pylist():
        day, first, last = row["event_date"], row["event_time_min"], row["event_time_max"]
        held = days.get(day, EventDay(day, first, last))
        days[day] = EventDay(day, min(held.first_at, first), max(held.last_at, last))
    found = [days[day] for day in sorted(days)] or event_days(root)
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
    batch_upto = event_days(root, known.version)[-1].last_at if known.files else None
    return Boundary(batch_upto, newest_at(root, known))


def _newest_before(known: KnownEvents, held: EventDay, before: datetime) -> datetime:
    """Return the time of the newest event of a day before an instant; there is one."""
    if held.last_at < before:
        return held.last_at
    files = [file for file in known.files if file.day == held.day]
    sources = {"later": known.later, **({"stored": open_files(files)} if files else {})}
    times = " UNION ALL ".join(f"SELECT event_time FROM {name}" for name in sources)
    sql = f"SELECT max(event_time) AS newest FROM ({times}) WHERE event_time < TIMESTAMPTZ '{before.astimezone(UTC)}'"
    newest: datetime = engine.run_sql(engine.connect().cursor(), sql, **sources)["newest"][0].as_py()
    return newest
