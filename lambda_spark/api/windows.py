"""The time windows that requests ask for: planned from parameters, computed from a snapshot of `events`, and cached.

A cached window is current until the number of events on one of its days changes.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from threading import RLock
from typing import Any, NamedTuple

import pyarrow as pa

from lambda_spark import engine
from lambda_spark.batch.bucket_counts import CountedEvents, bucket_counts, count_here, open_counts
from lambda_spark.batch.tasks import ExcludedProducts, read_excluded
from lambda_spark.delta import tables
from lambda_spark.delta.event_log import count_by_day, event_days
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY
from lambda_spark.errors import TimeRangeError
from lambda_spark.recommendations.rule import RecommendationRule
from lambda_spark.recommendations.single_user import CandidateIndex, index_candidates
from lambda_spark.report import words
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import EventDay, TimeRange, format_instant, parse_bucket
from lambda_spark.trends.score import trend_rule, trends_of
from lambda_spark.trends.windows import columns_read, resolve_request

_SNAPSHOT_TABLES = (EVENTS, PRODUCT_ACTIVITY)
_CACHED_WINDOWS = 16

# Two weeks of ten minutes.
MOST_BUCKETS = 2_016


class EventSnapshot(NamedTuple):
    """A version of `events`: how it is counted, its days, and the number of events on each day.

    `versions` are those of the tables that were read, by name; None for a table that did not exist.
    """

    counts: CountedEvents
    days: list[EventDay]
    events_by_day: Mapping[date, int]
    versions: Mapping[str, int | None]

    def fingerprint(self, window: TimeRange) -> Hashable:
        """Return a value that changes with every event that is added to the window."""
        days = (day for day in sorted(self.events_by_day) if window.start.date() <= day <= window.end.date())
        return tuple((day, self.events_by_day[day]) for day in days)


class WindowParameters(NamedTuple):
    """The parameters of a request that name a window and a moment."""

    start: datetime | None = None
    end: datetime | None = None
    bucket: str | None = None
    as_of: datetime | None = None


class WindowQuery(NamedTuple):
    """A window, and the moment as of which it is answered; None for everything that is known now."""

    range: TimeRange
    bucket: str
    as_of: datetime | None = None

    def range_until_as_of(self) -> TimeRange:
        """Return the part of the window before the moment."""
        return TimeRange(self.range.start, min(self.range.end, self.as_of) if self.as_of else self.range.end)

    def to_json(self) -> dict[str, Any]:
        """Return the fields of models.WindowName."""
        return {"from": self.range.start, "to": self.range.end, "bucket": self.bucket}


class Evidence(NamedTuple):
    """The evidence for a candidate that is the same for every user: fields of the answer, and its trend in words."""

    values: dict[str, Any]
    trend: str


@dataclass(frozen=True)
class Window:
    """What recommendations for a window are made of: its candidates, their evidence, and each user's exclusions."""

    query: WindowQuery
    candidates: CandidateIndex
    evidence: list[Evidence]
    excluded: ExcludedProducts


def open_event_snapshot(root: str) -> EventSnapshot:
    """Open the present version of `events`. Raises NotComputedError if there are no events."""
    versions = {table.name: tables.find_version(root, table) for table in _SNAPSHOT_TABLES}
    counts = open_counts(root)
    return EventSnapshot(counts, event_days(root, counts.version), count_by_day(counts.files), versions)


def has_changed(root: str, snapshot: EventSnapshot) -> bool:
    """Return True if a table of the snapshot has a newer version; costs one file lookup per table."""
    return any(
        tables.has_version(root, table, next_version(snapshot.versions[table.name])) for table in _SNAPSHOT_TABLES
    )


def next_version(version: int | None) -> int:
    """Return the version that follows; 0 for a table that does not exist yet."""
    return 0 if version is None else version + 1


def plan_window(
    settings: Settings, snapshot: EventSnapshot, parameters: WindowParameters, seen_upto: datetime | None
) -> tuple[WindowQuery, tuple[str, ...]]:
    """Return the window that a request asks for, and notes for people about it.

    Without a range it is the last complete days, from everything that is known now. A range is answered as of its end
    unless another moment is given. Raises TimeRangeError if the range cannot be answered.
    """
    asked, as_of, trends = _range_of(parameters), parameters.as_of, settings.trends
    days = event_days(settings.data_root, snapshot.counts.version, as_of) if as_of else snapshot.days
    request = resolve_request(trends.model_copy(update={"bucket": parameters.bucket or trends.bucket}), asked, days)
    _check_length(request.range, request.bucket)
    notes = list(request.notes)
    if as_of and as_of < request.range.end:
        notes.insert(0, f"Answered as of {format_instant(as_of)}: what came after it is not counted.")
    moment = as_of or (request.range.end if asked else None)
    return WindowQuery(request.range, request.bucket, past_moment(moment, seen_upto)), tuple(notes)


def past_moment(moment: datetime | None, seen_upto: datetime | None) -> datetime | None:
    """Return the moment if it is not after the newest event that is known; else None: the present views answer it."""
    return moment if moment and seen_upto and moment <= seen_upto else None


class WindowCache:
    """A least-recently-used cache of counts and windows; one of them is computed at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cached: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()
        self._lock = RLock()

    def counts(self, snapshot: EventSnapshot, query: WindowQuery) -> pa.Table:
        """Return the counts of a window. One row per (bucket_at, product_id)."""
        fingerprint = snapshot.fingerprint(query.range)
        return self._get(("counts", query), fingerprint, lambda: self._count(snapshot, query))

    def window(self, snapshot: EventSnapshot, query: WindowQuery) -> Window:
        """Return what recommendations for a window are made of."""
        fingerprint = snapshot.fingerprint(query.range)
        window: Window = self._get(("window", query), fingerprint, lambda: self._prepare(snapshot, query))
        return window

    def _get(self, key: Hashable, fingerprint: Hashable, compute: Callable[[], Any]) -> Any:
        if not self._lock.acquire(timeout=engine.seconds_left()):
            raise engine.too_slow()
        try:
            cached = self._cached.get(key)
            if cached is None or cached[0] != fingerprint:
                self._cached[key] = cached = (fingerprint, compute())
            self._cached.move_to_end(key)
            if len(self._cached) > _CACHED_WINDOWS:
                self._cached.popitem(last=False)
        finally:
            self._lock.release()
        return cached[1]

    def _count(self, snapshot: EventSnapshot, query: WindowQuery) -> pa.Table:
        settings, size = self._settings, parse_bucket(query.bucket)
        columns = columns_read(trend_rule(settings.trends).weights)
        return bucket_counts(count_here, settings.data_root, snapshot.counts, query.range_until_as_of(), size, columns)

    def _prepare(self, snapshot: EventSnapshot, query: WindowQuery) -> Window:
        settings = self._settings
        trends = trends_of(self.counts(snapshot, query), settings.trends, [query.range], query.bucket)
        rule = RecommendationRule(**settings.recommendations.model_dump())
        index = index_candidates(trends, rule, settings.brands.limit)
        product_ids = index.candidates["product_id"].combine_chunks()
        pairs = read_excluded(snapshot.counts.files, query.range_until_as_of(), product_ids, rule.leave_out)
        excluded = ExcludedProducts(pairs["user_id"].to_numpy(), pairs["product_id"].to_numpy())
        return Window(query, index, [_evidence(row) for row in index.candidates.to_pylist()], excluded)


def _range_of(parameters: WindowParameters) -> TimeRange | None:
    if parameters.start is None and parameters.end is None:
        return None
    if parameters.start is None or parameters.end is None:
        raise TimeRangeError("A range needs both from and to: name the other one too, or neither for the default.")
    return TimeRange(parameters.start, parameters.end)


def _check_length(time_range: TimeRange, bucket: str) -> None:
    if (time_range.end - time_range.start) / parse_bucket(bucket) > MOST_BUCKETS:
        raise TimeRangeError(
            f"{time_range} has more than {MOST_BUCKETS:,} buckets ({bucket}): "
            "ask for a larger bucket or a shorter range."
        )


def _evidence(row: Mapping[str, Any]) -> Evidence:
    values = {name: row[name] for name in ("brand", "trend_rank", "trend_score", "total_pct_increase")}
    trend = words.trend_reason(row["total_pct_increase"], row["window_to"] - row["window_from"], row["trend_rank"])
    return Evidence({"product_id": str(row["product_id"]), **values}, trend)
