"""The views that requests are answered from, held in memory and kept current by two background threads.

One thread follows the log of `recent_brands`; the other reads the other tables again after one of them has changed.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from threading import Event, Thread
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

from lambda_spark import engine
from lambda_spark.api.user_index import UserIndex, follow, load_index
from lambda_spark.api.windows import (
    EventSnapshot,
    Window,
    WindowCache,
    WindowQuery,
    has_changed,
    next_version,
    open_event_snapshot,
)
from lambda_spark.delta import tables
from lambda_spark.delta.coverage import offsets_of
from lambda_spark.delta.tables import RECENT_BRANDS, USER_BRANDS, Table
from lambda_spark.errors import LambdaSparkError, NotComputedError
from lambda_spark.schemas import Offsets, is_local
from lambda_spark.settings import Settings
from lambda_spark.trends.windows import resolve_request

Result = TypeVar("Result")

# How often to look for a new version of `recent_brands`: it costs one file lookup, or one request on object storage.
_FOLLOW_SECONDS, _FOLLOW_SECONDS_REMOTE = 0.05, 0.5
_REFRESH_SECONDS, _RETRY_SECONDS = 2.0, 5.0

# A pause is at least so many times as long as the refresh before it: the processor is for the streams and the answers.
_PAUSE_FACTOR = 10
_log = logging.getLogger(__name__)


class ViewCache:
    """Users' recent brands, a snapshot of `events`, and the default window.

    As long as `snapshot` or `default_window` is None, `cause` says why.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.windows = WindowCache(settings)
        self.snapshot: EventSnapshot | None = None
        self.default_window: Window | None = None
        self.default_notes: tuple[str, ...] = ()
        self.cause: str = "The tables have not been read yet."
        self.users = load_index(settings.data_root, settings.brands.limit)
        self._stopped = Event()
        self.refresh()

    def start(self) -> None:
        """Start the background threads."""
        pause = _FOLLOW_SECONDS if is_local(self.settings.data_root) else _FOLLOW_SECONDS_REMOTE
        for work, seconds, factor in ((self.follow, pause, 0), (self.refresh, _REFRESH_SECONDS, _PAUSE_FACTOR)):
            Thread(target=self._repeat, args=(work, seconds, factor), name=work.__name__, daemon=True).start()

    def stop(self) -> None:
        """Stop the background threads after what they are doing now."""
        self._stopped.set()

    def require_snapshot(self) -> EventSnapshot:
        """Return the snapshot of `events`. Raises NotComputedError if there are no events yet."""
        if self.snapshot is None:
            raise NotComputedError(self.cause)
        return self.snapshot

    def seen_upto(self) -> datetime | None:
        """Return the time of the newest event that either layer has seen."""
        return max(filter(None, (self.batch_upto(), self.users.newest_at)), default=None)

    def batch_upto(self) -> datetime | None:
        """Return the time of the newest event in the master dataset."""
        return self.snapshot.days[-1].last_at if self.snapshot else None

    def reached(self) -> Offsets:
        """Return the offsets per partition below which the speed layer has processed the topic."""
        return offsets_of(self.users.lineage, self.settings.kafka.topic)

    def follow(self) -> None:
        """Merge what the speed layer has committed since the last call."""
        root, limit = self.settings.data_root, self.settings.brands.limit
        if self._is_realtime_view_new(self.users):
            self.users = load_index(root, limit)
        follow(root, self.users, limit)

    def refresh(self) -> None:
        """Read what has changed: the index of users, the snapshot of `events`, and the default window."""
        root = self.settings.data_root
        if self._is_outdated(self.users):
            self.users = load_index(root, self.settings.brands.limit)
        if self.snapshot is not None and not has_changed(root, self.snapshot):
            return
        try:
            snapshot = open_event_snapshot(root)
        except NotComputedError as error:
            self.cause = str(error)
            return
        self._refresh_default_window(snapshot)
        self.snapshot = snapshot

    def _refresh_default_window(self, snapshot: EventSnapshot) -> None:
        """Compute the default window ahead of the requests, most of which ask for it."""
        try:
            request = resolve_request(self.settings.trends, None, snapshot.days)
        except LambdaSparkError as error:
            self.default_window, self.cause = None, str(error)
            return
        self.default_window = self.windows.window(snapshot, WindowQuery(request.range, request.bucket))
        self.default_notes = request.notes

    def _is_outdated(self, users: UserIndex) -> bool:
        """Return True if a view of the index was recomputed or recreated, or too many users have changed."""
        views = ((USER_BRANDS, users.batch_version), (RECENT_BRANDS, users.version))
        root, (batch, realtime) = self.settings.data_root, (self._is_missing(*view) for view in views)
        has_newer_batch = tables.has_version(root, USER_BRANDS, next_version(users.batch_version))
        return batch or realtime or has_newer_batch or users.needs_reload()

    def _is_realtime_view_new(self, users: UserIndex) -> bool:
        """Return True if the index has no realtime view and there is one now; version 0 is a stream's empty table."""
        return users.version is None and tables.has_version(self.settings.data_root, RECENT_BRANDS, 1)

    def _is_missing(self, table: Table, version: int | None) -> bool:
        return version is not None and not tables.has_version(self.settings.data_root, table, version)

    def _repeat(self, work: Callable[[], None], seconds: float, factor: float) -> None:
        """Repeat the work, with pauses of these seconds, or of `factor` times as long as it took if that is longer."""
        pause = seconds
        while not self._stopped.wait(pause):
            begin = time.monotonic()
            try:
                work()
                pause = max(seconds, factor * (time.monotonic() - begin))
            except Exception:
                # The next attempt may succeed; what is in memory stays, and answers show how old it is.
                _log.exception("The tables could not be read.")
                pause = _RETRY_SECONDS


async def run_with_deadline(cache: ViewCache, work: Callable[[], Result]) -> Result:
    """Run work on the views in a worker thread and return its result. Raises TooSlowError at the server's deadline."""

    def bounded() -> Result:
        with engine.time_limit(cache.settings.serve.deadline_seconds):
            return work()

    return await run_in_threadpool(bounded)
