"""What the speed layer has handed through since all was last looked at: who has just met what, and when."""

from datetime import datetime
from threading import Lock

import pyarrow.compute as pc

from lambda_spark import parsing, tables
from lambda_spark.parquet_files import open_parquet
from lambda_spark.recommendations import IS_LEFT_OUT
from lambda_spark.tables import LIVE_ACTIVITY
from lambda_spark.time_ranges import TimeRange

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
        sql = f"SELECT user_id, product_id, event_time FROM rows WHERE {IS_LEFT_OUT[self._leave_out]}"
        met = parsing.run(parsing.connect().cursor(), sql, rows=rows)
        rows_met = zip(*(column.to_pylist() for column in met.columns), strict=True)
        with self._lock:
            for user_id, product_id, at in rows_met:
                self._met.setdefault(user_id, []).append((version, product_id, at))
