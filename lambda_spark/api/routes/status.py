"""/v1/status and /v1/live: the state of the pipeline, once or every second.

What a person is shown of a running pipeline: the counts of both layers, how far each is, and what was rejected.

How far an answer reaches, which every answer tells.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from lambda_spark.api import models, problems
from lambda_spark.api.parameters import check_names
from lambda_spark.api.problems import dump, render
from lambda_spark.api.topic import TopicWatch
from lambda_spark.api.view_cache import VersionedCache, ViewCache
from lambda_spark.delta import event_log, tables
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, REJECTED_EVENTS, Table
from lambda_spark.events.parsing import SENTENCES, Reason
from lambda_spark.report.summary import rejected_by_reason
from lambda_spark.serving.identity_result import read_identity_result
from lambda_spark.speed import checkpoints
from lambda_spark.speed.checkpoints import received_count, received_upto

# Rates are those of the last seconds, and a layer that took nothing for longer while messages waited has stopped.
_RATE_SECONDS = 10.0
_PATIENCE_SECONDS = 15.0


class Status:
    """Reads the state of the pipeline, and remembers the last ones, of which rates are made."""

    def __init__(self, keeper: ViewCache, topic: TopicWatch) -> None:
        self._keeper, self._topic = keeper, topic
        self._received: deque[tuple[float, int, int]] = deque(maxlen=60)
        root = keeper.settings.data_root
        self._stored = VersionedCache(root, (EVENTS, REJECTED_EVENTS), lambda *_: event_log.master_dataset_counts(root))
        self._batch_at, self._speed_at = (_commit_time(root, table) for table in (EVENTS, RECENT_BRANDS))

    def read(self) -> dict[str, Any]:
        """Return the state as it is answered."""
        root, keeper, topic = self._keeper.settings.data_root, self._keeper, self._topic
        stored = self._stored.get()
        batch = received_count(checkpoints.ingest_checkpoint(root))
        speed = received_upto(checkpoints.speed_checkpoint(root), keeper.reached())
        self._received.append((time.monotonic(), batch, speed))
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
                "upto": keeper.batch_upto(),
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
            "identity": read_identity_result(keeper.settings.local_root),
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


_SECONDS = 1.0
router = APIRouter(prefix="/v1", tags=["live"], responses=problems.RESPONSES, dependencies=[Depends(check_names)])
_log = logging.getLogger(__name__)


class StatusFeed:
    """Reads the state every second for as long as somebody listens, once for all of them."""

    def __init__(self, status: Status, topic: TopicWatch) -> None:
        self._status, self._topic = status, topic
        self.listeners = 0
        self._is_over = False
        self.state: bytes = b""
        self.sample: bytes = b""

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            self._topic.is_sampled = self.listeners > 0
            if self.listeners:
                try:
                    await self._read()
                except Exception:
                    # The next look may find the tables whole again.
                    _log.exception("The state of the pipeline could not be read.")
            else:
                # The next to listen is told nothing of what the last one was.
                self.state = self.sample = b""
            await asyncio.sleep(_SECONDS)

    async def _read(self) -> None:
        self.state = dump(await run_in_threadpool(self._status.read))
        messages = await run_in_threadpool(self._status.sample)
        self.sample = dump({"messages": messages}) if messages else b""

    def stop(self) -> None:
        """End what listeners are told, since a server that stops waits for all answers to end."""
        self._is_over = True

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Yield each state as it comes, and each sample that is another than the one before."""
        self.listeners += 1
        told = sampled = b""
        try:
            while not self._is_over:
                if self.state != told:
                    told = self.state
                    yield ServerSentEvent(raw_data=told.decode(), event="status")
                if self.sample and self.sample != sampled:
                    sampled = self.sample
                    yield ServerSentEvent(raw_data=sampled.decode(), event="sample")
                await asyncio.sleep(_SECONDS / 4)
        finally:
            self.listeners -= 1


@router.get("/status", response_model=models.Status)
async def status(request: Request) -> Response:
    """The counts of both layers, how far each is, what was rejected, and the identity's last result."""
    return render(await run_in_threadpool(request.app.state.status.read))


@router.get("/live", response_class=EventSourceResponse)
async def live(request: Request) -> AsyncIterator[ServerSentEvent]:
    """The same every second as server-sent events (`status`), and the newest messages of the topic (`sample`)."""
    async for event in request.app.state.pulse.events():
        yield event


_MOST_CHARACTERS, _BRANDS_SHOWN, _MESSAGES_SHOWN = 500, 8, 8


def _commit_time(root: str, table: Table) -> VersionedCache[datetime | None]:
    """Return what tells when the table was last written to."""

    def read(version: int | None) -> datetime | None:
        for number in range(-1 if version is None else version, -1, -1):
            commit = tables.commit_of(root, table, number) or []
            infos = [action["commitInfo"] for action in commit if "commitInfo" in action]
            if not tables.is_maintenance(commit):
                return datetime.fromtimestamp(infos[0]["timestamp"] / 1000, timezone.utc) if infos else None
        return None

    return VersionedCache(root, (table,), read)


def reach(app: FastAPI, notes: Sequence[str]) -> dict[str, Any]:
    """Return the fields of models.Reach."""
    keeper: ViewCache = app.state.keeper
    return {
        "batch_upto": keeper.batch_upto(),
        "speed_upto": keeper.seen_upto(),
        "lag_s": app.state.topic.lag_seconds(keeper.reached()),
        "notes": list(notes),
    }
