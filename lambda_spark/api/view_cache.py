"""Keeps in memory what answers are made of, and up to date: users' brands at once, all else every few seconds.

What is known at a moment, as far as counts and windows follow from it.

What is made of tables, and made anew only once one of them has another version: a look at a file's name or two.

What the speed layer has handed through since all was last looked at: who has just met what, and when.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Event, Lock, Thread
from typing import Generic, TypeVar

import pyarrow.compute as pc

from lambda_spark import engine
from lambda_spark.api.user_index import UserIndex, follow, load_index
from lambda_spark.api.windows import Known, Window, WindowQuery, Windows, after, has_changed, read_known
from lambda_spark.delta import tables
from lambda_spark.delta.coverage import offsets_of
from lambda_spark.delta.parquet_files import open_parquet
from lambda_spark.delta.tables import LIVE_ACTIVITY, RECENT_BRANDS, USER_BRANDS, Table
from lambda_spark.errors import LambdaSparkError, NotComputedError
from lambda_spark.recommendations.rule import EXCLUDED_SQL
from lambda_spark.schemas import Offsets
from lambda_spark.settings import Settings, is_local
from lambda_spark.time_ranges import TimeRange
from lambda_spark.trends.windows import resolve_request

Made = TypeVar("Made")


class VersionedCache(Generic[Made]):
    """Something made of tables, as they are now; `make` takes their versions, None where there is no such table."""

    def __init__(self, root: str, read: Sequence[Table], make: Callable[..., Made]) -> None:
        self._root, self._read, self._make = root, read, make
        self._found: tuple[list[int | None], Made] | None = None

    def get(self) -> Made:
        """Return it."""
        last = self._found[0] if self._found else [None] * len(self._read)
        versions = [newest_version(self._root, *each) for each in zip(self._read, last, strict=True)]
        if self._found is None or self._found[0] != versions:
            self._found = versions, self._make(*versions)
        return self._found[1]


_COLUMNS = ["event_time", "event_type", "user_id", "product_id"]


class RecentEvents:
    """Events that versions of `live_activity` after a first one have added, as far as they are to be left out."""

    def __init__(self, version: int | None, leave_out: str) -> None:
        self.version = version
        self.newest_at: datetime | None = None
        self._leave_out = leave_out
        self._met: dict[int, list[tuple[int, int, datetime]]] = {}
        # One thread takes events in while another has some forgotten.
        self._lock = Lock()

    def met_by(self, user_id: int, time_range: TimeRange) -> list[int]:
        """Return the products that a user has met in a range."""
        start, end = time_range
        return [product for _, product, at in self._met.get(user_id, ()) if start <= at < end]

    def follow(self, root: str) -> None:
        """Take what has been committed since."""
        while self.version is not None and (commit := tables.commit_of(root, LIVE_ACTIVITY, self.version + 1)):
            if paths := tables.added_by(root, LIVE_ACTIVITY, commit):
                self._take(paths, self.version + 1)
            self.version += 1

    def forget(self, until: int) -> None:
        """Forget what versions up to that one have added: whoever asks now knows that in another way."""
        with self._lock:
            kept = {user: [met for met in events if met[0] > until] for user, events in self._met.items()}
            self._met = {user: events for user, events in kept.items() if events}

    def _take(self, paths: list[str], version: int) -> None:
        rows = open_parquet(paths).to_table(_COLUMNS)
        newest = pc.max(rows["event_time"]).as_py()
        if newest is not None:
            self.newest_at = max(newest, self.newest_at or newest)
        sql = f"SELECT user_id, product_id, event_time FROM rows WHERE {EXCLUDED_SQL[self._leave_out]}"
        met = engine.run_sql(engine.connect().cursor(), sql, rows=rows)
        rows_met = zip(*(column.to_pylist() for column in met.columns), strict=True)
        with self._lock:
            for user_id, product_id, at in rows_met:
                self._met.setdefault(user_id, []).append((version, product_id, at))


# How often the log of the realtime view is looked at: each look is one file's name, which elsewhere is a request.
_LOOK_SECONDS, _LOOK_SECONDS_ELSEWHERE = 0.05, 0.5
_RENEW_SECONDS, _RETRY_SECONDS = 2.0, 5.0

# What renewing costs leaves most of the processor to the streams and to answers.
_SHARE_OF_TIME = 10
_log = logging.getLogger(__name__)


class ViewCache:
    """What is known, in memory; `known` is None, and `cause` says why, where nothing can be answered yet."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.windows = Windows(settings)
        self.known: Known | None = None
        self.default: Window | None = None
        self.default_notes: tuple[str, ...] = ()
        self.cause: str = "The tables have not been read yet."
        self.users = load_index(settings.data_root, settings.brands.limit)
        self.events = self._recent_events()
        self._end = Event()
        self.renew()

    def start(self) -> None:
        """Begin to keep it up to date, in threads of its own."""
        pause = _LOOK_SECONDS if is_local(self.settings.data_root) else _LOOK_SECONDS_ELSEWHERE
        for work, seconds, share in ((self.follow, pause, 0), (self.renew, _RENEW_SECONDS, _SHARE_OF_TIME)):
            Thread(target=self._repeat, args=(work, seconds, share), name=work.__name__, daemon=True).start()

    def stop(self) -> None:
        """End that."""
        self._end.set()

    def seen_upto(self) -> datetime | None:
        """Return the time of the newest event that either layer has seen."""
        known = self.known.upto.seen_upto if self.known else None
        return max(filter(None, (known, self.events.newest_at)), default=None)

    def reached(self) -> Offsets:
        """Return how far the speed layer has the topic."""
        return offsets_of(self.users.lineage, self.settings.kafka.topic)

    def follow(self) -> None:
        """Take in what the speed layer has committed since: its events first, as it does itself."""
        root, limit = self.settings.data_root, self.settings.brands.limit
        self.events.follow(root)
        if self._has_begun(self.users):
            self.users = load_index(root, limit)
        follow(root, self.users, limit)

    def renew(self) -> None:
        """Read anew what has changed: the views of users, what is known, and the default window."""
        root = self.settings.data_root
        if self._is_outdated(self.users):
            self.users = load_index(root, self.settings.brands.limit)
        if self.known is not None and not has_changed(root, self.known):
            return
        if self.events.version is None or self._is_gone(LIVE_ACTIVITY, self.events.version):
            self.events = self._recent_events()
        until = self.events.version
        try:
            known = read_known(root)
        except NotComputedError as error:
            self.cause = str(error)
            return
        self._renew_default(known)
        self.known = known
        # Only now: the windows made from here on have these events.
        if until is not None:
            self.events.forget(until)

    def _renew_default(self, known: Known) -> None:
        """Make the default window ready, of which most requests are."""
        try:
            request = resolve_request(self.settings.trends, None, known.days)
        except LambdaSparkError as error:
            self.default, self.cause = None, str(error)
            return
        self.default = self.windows.window(known, WindowQuery(request.range, request.bucket))
        self.default_notes = (*request.notes, *known.counts.events.notes)

    def _is_outdated(self, users: UserIndex) -> bool:
        """Say whether the batch view is another, a view was made anew, or too many users have changed."""
        views = ((USER_BRANDS, users.batch_version), (RECENT_BRANDS, users.version))
        root, (batch, realtime) = self.settings.data_root, (self._is_gone(*view) for view in views)
        has_more_batch = tables.has_version(root, USER_BRANDS, after(users.batch_version))
        return batch or realtime or has_more_batch or users.is_full()

    def _has_begun(self, users: UserIndex) -> bool:
        """Say whether there is a realtime view now: version 0 is the empty table that a stream makes first of all."""
        return users.version is None and tables.has_version(self.settings.data_root, RECENT_BRANDS, 1)

    def _is_gone(self, table: Table, version: int | None) -> bool:
        return version is not None and not tables.has_version(self.settings.data_root, table, version)

    def _recent_events(self) -> RecentEvents:
        version = tables.find_version(self.settings.data_root, LIVE_ACTIVITY)
        return RecentEvents(version, self.settings.recommendations.leave_out)

    def _repeat(self, work: Callable[[], None], seconds: float, share: float) -> None:
        """Do the work again and again, with pauses of so many seconds, or of so many times what it took."""
        pause = seconds
        while not self._end.wait(pause):
            begin = time.monotonic()
            try:
                work()
                pause = max(seconds, share * (time.monotonic() - begin))
            except Exception:
                # The next look may find the tables whole again; what is in memory stays and says how old it is.
                _log.exception("The tables could not be read.")
                pause = _RETRY_SECONDS


def newest_version(root: str, table: Table, last: int | None) -> int | None:
    """Return the table's present version, from a last one on; None where there is no table."""
    if last is None or not tables.has_version(root, table, last):
        return tables.find_version(root, table)
    while tables.has_version(root, table, last + 1):
        last += 1
    return last
