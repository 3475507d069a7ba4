"""Keeps in memory what answers are made of, and up to date: users' brands at once, all else every few seconds."""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from threading import Event, Thread

from lambda_spark import tables
from lambda_spark.api.known import Asked, Known, after, has_changed, read_known
from lambda_spark.api.recent_events import RecentEvents
from lambda_spark.api.user_index import UserIndex, follow, load_index
from lambda_spark.api.windows import Window, Windows
from lambda_spark.checkpoints import Offsets
from lambda_spark.errors import LambdaSparkError, NotComputedError
from lambda_spark.handover import offsets_of
from lambda_spark.settings import Settings
from lambda_spark.storage import is_local
from lambda_spark.tables import LIVE_ACTIVITY, RECENT_BRANDS, USER_BRANDS, Table
from lambda_spark.trend_windows import resolve_request

# How often the log of the realtime view is looked at: each look is one file's name, which elsewhere is a request.
_LOOK_SECONDS, _LOOK_SECONDS_ELSEWHERE = 0.05, 0.5
_RENEW_SECONDS, _RETRY_SECONDS = 2.0, 5.0
# What renewing costs leaves most of the processor to the streams and to answers.
_SHARE_OF_TIME = 10

_log = logging.getLogger(__name__)


class Keeper:
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
        self.default = self.windows.window(known, Asked(request.range, request.bucket))
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
