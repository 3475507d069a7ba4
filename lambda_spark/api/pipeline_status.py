"""The status of the pipeline: counts of both layers, how fresh they are, what was rejected, and the newest messages."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar

from lambda_spark.api.topic import TopicMonitor
from lambda_spark.api.view_cache import ViewCache
from lambda_spark.delta import event_log, tables
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, REJECTED_EVENTS, Table
from lambda_spark.report.summary import rejected_by_reason
from lambda_spark.schemas import SENTENCES, Offsets, Reason
from lambda_spark.serving.identity_result import read_identity_result
from lambda_spark.speed import checkpoints

_RATE_SECONDS = 10.0

# If messages have been waiting for longer, the speed layer has stopped.
_STOPPED_SECONDS = 15.0
_MOST_CHARACTERS, _BRANDS_SHOWN, _MESSAGES_SHOWN = 500, 8, 8
Value = TypeVar("Value")


class PipelineStatus:
    """Reads the status of the pipeline, and remembers what was received at the latest reads, for the rates."""

    def __init__(self, views: ViewCache, topic: TopicMonitor) -> None:
        self._views, self._topic = views, topic
        self._received: deque[tuple[float, int, int]] = deque(maxlen=60)
        root = views.settings.data_root
        self._stored = VersionedCache(root, (EVENTS, REJECTED_EVENTS), lambda *_: event_log.master_dataset_counts(root))
        self._batch_at, self._speed_at = (_commit_time(root, table) for table in (EVENTS, RECENT_BRANDS))

    def read(self) -> dict[str, Any]:
        """Return the fields of models.Status."""
        root, views, topic = self._views.settings.data_root, self._views, self._topic
        stored = self._stored.get()
        batch = checkpoints.received_count(checkpoints.ingest_checkpoint(root))
        speed = checkpoints.received_upto(checkpoints.speed_checkpoint(root), views.reached())
        self._received.append((time.monotonic(), batch, speed))
        committed_at = self._speed_at.get()
        return {
            "now": datetime.now(timezone.utc),
            "topic": {
                "name": topic.name,
                "message_count": topic.message_count(),
                "is_reachable": topic.end_offsets is not None,
            },
            "batch": {
                "received": batch,
                "stored": stored.stored,
                "rejected": sum(stored.rejected.values()),
                "upto": views.batch_upto(),
                "committed_at": self._batch_at.get(),
            },
            "speed": {
                "received": speed,
                "behind": topic.waiting_count(views.reached()),
                "lag_s": self._lag_seconds(),
                "upto": views.seen_upto(),
                "committed_at": committed_at,
                "stopped_since": self._stopped_since(committed_at),
            },
            "events_per_second": {"topic": topic.rate(_RATE_SECONDS), **self._rates()},
            "rejects": [
                {"reason": reason, "count": count, "sentence": sentence}
                for reason, count, sentence in rejected_by_reason(stored)
            ],
            "identity": read_identity_result(views.settings.local_root),
        }

    def freshness(self, notes: Sequence[str] = ()) -> dict[str, Any]:
        """Return the fields of models.Freshness."""
        return {
            "batch_upto": self._views.batch_upto(),
            "speed_upto": self._views.seen_upto(),
            "lag_s": self._lag_seconds(),
            "notes": list(notes),
        }

    def newest_messages(self) -> list[dict[str, Any]]:
        """Return the newest messages, raw and parsed, with the user's brands once the speed layer has processed them.

        They stay the same for some seconds or until the speed layer has processed all of them, so that people see it.
        """
        newest, reached = self._topic.newest[:_MESSAGES_SHOWN], self._views.reached()
        messages = [self._message(each["record"], each["parsed"], reached) for each in newest]
        self._topic.keep_sample = any(each["event"] and each["brands"] is None for each in messages)
        return messages

    def _message(self, record: Any, parsed: Mapping[str, Any], reached: Offsets) -> dict[str, Any]:
        is_event, is_processed = parsed["reason"] is None, record.offset < reached.get(record.partition, 0)
        brands = self._views.users.find(parsed["user_id"]) or [] if is_event and is_processed else None
        event = {name: parsed[name] for name in ("event_time", "event_type", "brand", "price")}
        ids = {name: str(parsed[name]) for name in ("product_id", "user_id")}
        return {
            "partition": record.partition,
            "offset": record.offset,
            "value": (record.value or b"").decode("utf-8", "replace")[:_MOST_CHARACTERS],
            "reason": parsed["reason"],
            "sentence": None if is_event else SENTENCES[Reason(parsed["reason"])],
            "event": {**event, **ids} if is_event else None,
            "brands": None if brands is None else [brand for brand, _ in brands[:_BRANDS_SHOWN]],
        }

    def _lag_seconds(self) -> float | None:
        return self._topic.lag_seconds(self._views.reached())

    def _rates(self) -> dict[str, float | None]:
        """Return the messages per second that each layer received, None until two reads are known."""
        now = time.monotonic()
        recent = [read for read in self._received.copy() if now - read[0] <= _RATE_SECONDS]
        if len(recent) < 2:
            return {"batch": None, "speed": None}
        (first_at, *first), (last_at, *last) = recent[0], recent[-1]
        batch, speed = ((end - start) / (last_at - first_at) for start, end in zip(first, last, strict=True))
        return {"batch": batch, "speed": speed}

    def _stopped_since(self, committed_at: datetime | None) -> datetime | None:
        """Return when the speed layer last committed if messages have been waiting for long, else None."""
        lag = self._lag_seconds()
        return committed_at if lag is not None and lag > _STOPPED_SECONDS else None


class VersionedCache(Generic[Value]):
    """A value computed from tables, again only after one has a new version; `compute` takes the versions, or None."""

    def __init__(self, root: str, tables_read: Sequence[Table], compute: Callable[..., Value]) -> None:
        self._root, self._tables, self._compute = root, tables_read, compute
        self._cached: tuple[list[int | None], Value] | None = None

    def get(self) -> Value:
        """Return the value for the present versions; costs one file lookup per table if there is no new version."""
        last = self._cached[0] if self._cached else [None] * len(self._tables)
        versions = [_newest_version(self._root, *each) for each in zip(self._tables, last, strict=True)]
        if self._cached is None or self._cached[0] != versions:
            self._cached = versions, self._compute(*versions)
        return self._cached[1]


def _newest_version(root: str, table: Table, last: int | None) -> int | None:
    """Return the present version of a table, found from the last one that was seen; None if there is no table."""
    if last is None or not tables.has_version(root, table, last):
        return tables.find_version(root, table)
    while tables.has_version(root, table, last + 1):
        last += 1
    return last


def _commit_time(root: str, table: Table) -> VersionedCache[datetime | None]:
    """Return the time of the latest commit to a table that is not maintenance, cached per version."""

    def read(version: int | None) -> datetime | None:
        for number in range(-1 if version is None else version, -1, -1):
            commit = tables.commit_of(root, table, number) or []
            infos = [action["commitInfo"] for action in commit if "commitInfo" in action]
            if not tables.is_maintenance(commit):
                return datetime.fromtimestamp(infos[0]["timestamp"] / 1000, timezone.utc) if infos else None
        return None

    return VersionedCache(root, (table,), read)
