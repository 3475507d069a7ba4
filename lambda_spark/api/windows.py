"""The windows that answers are about: counted once from all that is known, and kept for as long as they are current."""

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
from lambda_spark.recommendations.rule import RecommendationRule
from lambda_spark.recommendations.single_user import CandidateIndex, index_candidates
from lambda_spark.report import words
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import EventDay, TimeRange, parse_bucket
from lambda_spark.trends.score import trend_rule, trends_of
from lambda_spark.trends.windows import columns_read


class Known(NamedTuple):
    """A version of `events`: what of it is counted, its days, and the number of events on each.

    `versions` are those of the tables that were read, by name; None for a table that did not exist.
    """

    counts: CountedEvents
    days: list[EventDay]
    per_day: Mapping[date, int]
    versions: Mapping[str, int | None]

    def token(self, window: TimeRange) -> Hashable:
        """Return what is another as soon as one more event of the window is known."""
        days = (day for day in sorted(self.per_day) if window.start.date() <= day <= window.end.date())
        return tuple((day, self.per_day[day]) for day in days)


_READ = (EVENTS, PRODUCT_ACTIVITY)


class WindowQuery(NamedTuple):
    """A window, and the moment as of which it is answered; None is all that is known."""

    range: TimeRange
    bucket: str
    as_of: datetime | None = None

    def known_range(self) -> TimeRange:
        """Return the part of the window that lies before the moment."""
        return TimeRange(self.range.start, min(self.range.end, self.as_of) if self.as_of else self.range.end)


def read_known(root: str) -> Known:
    """Open the present version of `events`. Raises NotComputedError if there is no event."""
    versions = {table.name: tables.find_version(root, table) for table in _READ}
    counts = open_counts(root)
    return Known(counts, event_days(root, counts.version), count_by_day(counts.files), versions)


def has_changed(root: str, known: Known) -> bool:
    """Say whether a table has another version than the one that was read, by a look at one file of each."""
    return any(tables.has_version(root, table, after(known.versions[table.name])) for table in _READ)


def after(version: int | None) -> int:
    """Return the version that comes after one, or after none."""
    return 0 if version is None else version + 1


_KEPT = 16


class Evidence(NamedTuple):
    """What an answer says of a candidate, whoever asks: as JSON has it, and of its trend in words."""

    values: dict[str, Any]
    trend: str


@dataclass(frozen=True)
class Window:
    """A window as recommendations need it: the candidates, their evidence, and what each user is not recommended."""

    asked: WindowQuery
    shelf: CandidateIndex
    evidence: list[Evidence]
    excluded: ExcludedProducts


class Windows:
    """Counts and windows by what was asked; one is computed at a time, and the least recently used are forgotten."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()
        self._lock = RLock()

    def counts(self, known: Known, asked: WindowQuery) -> pa.Table:
        """Return the counts of a window, one row per (bucket_at, product_id)."""
        return self._current(("counts", asked), known.token(asked.range), lambda: self._count(known, asked))

    def window(self, known: Known, asked: WindowQuery) -> Window:
        """Return the window, ready for one user at a time."""
        token = known.token(asked.range)
        window: Window = self._current(("window", asked), token, lambda: self._prepare(known, asked))
        return window

    def _current(self, key: Hashable, token: Hashable, compute: Callable[[], Any]) -> Any:
        if not self._lock.acquire(timeout=engine.seconds_left()):
            raise engine.too_slow()
        try:
            found = self._kept.get(key)
            if found is None or found[0] != token:
                self._kept[key] = found = (token, compute())
            self._kept.move_to_end(key)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        finally:
            self._lock.release()
        return found[1]

    def _count(self, known: Known, asked: WindowQuery) -> pa.Table:
        settings, size = self._settings, parse_bucket(asked.bucket)
        columns = columns_read(trend_rule(settings.trends).weights)
        return bucket_counts(count_here, settings.data_root, known.counts, asked.known_range(), size, columns)

    def _prepare(self, known: Known, asked: WindowQuery) -> Window:
        settings = self._settings
        trends = trends_of(self.counts(known, asked), settings.trends, [asked.range], asked.bucket)
        rule = RecommendationRule(**settings.recommendations.model_dump())
        shelf = index_candidates(trends, rule, settings.brands.limit)
        products = shelf.candidates["product_id"].combine_chunks()
        pairs = read_excluded(known.counts.files, asked.known_range(), products, rule.leave_out)
        excluded = ExcludedProducts(pairs["user_id"].to_numpy(), pairs["product_id"].to_numpy())
        return Window(asked, shelf, [_evidence(row) for row in shelf.candidates.to_pylist()], excluded)


def _evidence(row: Mapping[str, Any]) -> Evidence:
    told = {name: row[name] for name in ("brand", "trend_rank", "trend_score", "total_pct_increase")}
    trend = words.trend_reason(row["total_pct_increase"], row["window_to"] - row["window_from"], row["trend_rank"])
    return Evidence({"product_id": str(row["product_id"]), **told}, trend)
