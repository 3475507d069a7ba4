"""What a person is shown of a running pipeline: the counts of both layers, how far each is, and what was rejected."""

import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from lambda_spark import counts, tables
from lambda_spark.api.current import Current
from lambda_spark.api.keeper import Keeper
from lambda_spark.api.topic import TopicWatch
from lambda_spark.checkpoints import received_count, received_upto
from lambda_spark.identity_results import read_result
from lambda_spark.rejects import SENTENCES, Reason
from lambda_spark.summary import rejected_by_reason
from lambda_spark.tables import EVENTS, RECENT_BRANDS, REJECTED_EVENTS, Table

# Rates are those of the last seconds, and a layer that took nothing for longer while messages waited has stopped.
_RATE_SECONDS = 10.0
_PATIENCE_SECONDS = 15.0
_MOST_CHARACTERS, _BRANDS_SHOWN, _MESSAGES_SHOWN = 500, 8, 8


class Status:
    """Reads the state of the pipeline, and remembers the last ones, of which rates are made."""

    def __init__(self, keeper: Keeper, topic: TopicWatch) -> None:
        self._keeper, self._topic = keeper, topic
        self._received: deque[tuple[float, int, int]] = deque(maxlen=60)
        root = keeper.settings.data_root
        self._stored = Current(root, (EVENTS, REJECTED_EVENTS), lambda *_: counts.master_dataset_counts(root))
        self._batch_at, self._speed_at = (_commit_time(root, table) for table in (EVENTS, RECENT_BRANDS))

    def read(self) -> dict[str, Any]:
        """Return the state as it is answered."""
        root, keeper, topic = self._keeper.settings.data_root, self._keeper, self._topic
        stored = self._stored.get()
        batch = received_count(counts.ingest_checkpoint(root))
        speed = received_upto(counts.speed_checkpoint(root), keeper.reached())
        self._received.append((time.monotonic(), batch, speed))
        upto = keeper.known.upto if keeper.known else None
        committed_at = self._speed_at.get()
        return {
            "now": datetime.now(timezone.utc),
            "topic": {
                "name": topic.name,
                "message_count": topic.message_count(),
                "is_reachable": topic.ends is not None,
            },
            "batch": {
                "received": batch,
                "stored": stored.stored,
                "rejected": sum(stored.rejected.values()),
                "upto": upto.batch_upto if upto else None,
                "committed_at": self._batch_at.get(),
            },
            "speed": {
                "received": speed,
                "behind": topic.behind(keeper.reached()),
                "lag_s": self.lag_seconds(),
                "upto": keeper.seen_upto(),
                "committed_at": committed_at,
                "stopped_since": self._stopped_since(committed_at),
            },
            "events_per_second": {"topic": topic.rate(_RATE_SECONDS), **self._rates()},
            "rejects": [
                {"reason": reason, "count": count, "sentence": sentence}
                for reason, count, sentence in rejected_by_reason(stored)
            ],
            "identity": read_result(keeper.settings.local_root),
        }

    def lag_seconds(self) -> float | None:
        """Return for how long the oldest message has been waiting for the speed layer."""
        return self._topic.lag_seconds(self._keeper.reached())

    def sample(self) -> list[dict[str, Any]]:
        """Return the newest messages: as they came, as parsed, and the user's brands once it is in these.

        The same ones for some seconds, or until the speed layer has them, so that each is seen on its way.
        """
        newest, reached = self._topic.newest[:_MESSAGES_SHOWN], self._keeper.reached()
        messages = [self._message(each["record"], each["parsed"], reached) for each in newest]
        self._topic.is_held = any(each["event"] and each["brands"] is None for each in messages)
        return messages

    def _message(self, record: Any, parsed: Mapping[str, Any], reached: Mapping[int, int]) -> dict[str, Any]:
        is_event, is_taken = parsed["reason"] is None, record.offset < reached.get(record.partition, 0)
        brands = self._keeper.users.find(parsed["user_id"]) or [] if is_event and is_taken else None
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

    def _rates(self) -> dict[str, float | None]:
        now = time.monotonic()
        recent = [each for each in self._received.copy() if now - each[0] <= _RATE_SECONDS]
        if len(recent) < 2:
            return {"batch": None, "speed": None}
        seconds = recent[-1][0] - recent[0][0]
        batch, speed = ((recent[-1][place] - recent[0][place]) / seconds for place in (1, 2))
        return {"batch": batch, "speed": speed}

    def _stopped_since(self, committed_at: datetime | None) -> datetime | None:
        """Return when the speed layer last took something in, where messages have been waiting for long since then."""
        lag = self.lag_seconds()
        return committed_at if lag is not None and lag > _PATIENCE_SECONDS else None


def _commit_time(root: str, table: Table) -> Current[datetime | None]:
    """Return what tells when the table was last written to."""

    def read(version: int | None) -> datetime | None:
        for number in range(-1 if version is None else version, -1, -1):
            commit = tables.commit_of(root, table, number) or []
            infos = [action["commitInfo"] for action in commit if "commitInfo" in action]
            if not tables.is_upkeep(commit):
                return datetime.fromtimestamp(infos[0]["timestamp"] / 1000, timezone.utc) if infos else None
        return None

    return Current(root, (table,), read)
