"""Keeps in memory what answers are made of, and up to date: users' brands at once, all else every few seconds.

What is known at a moment, as far as counts and windows follow from it.

What is made of tables, and made anew only once one of them has another version: a look at a file's name or two.

What the speed layer has handed through since all was last looked at: who has just met what, and when.
"""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from threading import Event, Thread
from typing import Generic, TypeVar

from lambda_spark.api.user_index import UserIndex, follow, load_index
from lambda_spark.api.windows import Known, Window, WindowQuery, Windows, after, has_changed, read_known
from lambda_spark.delta import tables
from lambda_spark.delta.coverage import offsets_of
from lambda_spark.delta.tables import RECENT_BRANDS, USER_BRANDS, Table
from lambda_spark.errors import LambdaSparkError, NotComputedError
from lambda_spark.schemas import Offsets, is_local
from lambda_spark.settings import Settings
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
        return max(filter(None, (self.batch_upto(), self.users.newest_at)), default=None)

    def batch_upto(self) -> datetime | None:
        """Return the time of the newest event in the master dataset."""
        return self.known.days[-1].last_at if self.known else None

    def reached(self) -> Offsets:
        """Return how far the speed layer has the topic."""
        return offsets_of(self.users.lineage, self.settings.kafka.topic)

    def follow(self) -> None:
        """Take in what the speed layer has committed since."""
        root, limit = self.settings.data_root, self.settings.brands.limit
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
        try:
            known = read_known(root)
        except NotComputedError as error:
            self.cause = str(error)
            return
        self._renew_default(known)
        self.known = known

    def _renew_default(self, known: Known) -> None:
        """Make the default window ready, of which most requests are."""
        try:
            request = resolve_request(self.settings.trends, None, known.days)
        except LambdaSparkError as error:
            self.default, self.cause = None, str(error)
            return
        self.default = self.windows.window(known, WindowQuery(request.range, request.bucket))
        self.default_notes = request.notes

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
