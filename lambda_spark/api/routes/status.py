"""/v1/status and /v1/live: the status of the pipeline, once or every second."""

import asyncio
import logging
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from lambda_spark.api import models, problems
from lambda_spark.api.models import render, to_json
from lambda_spark.api.parameters import check_names
from lambda_spark.api.pipeline_status import PipelineStatus
from lambda_spark.api.topic import TopicMonitor

_READ_SECONDS = 1.0
_CHECK_SECONDS = 0.25
router = APIRouter(prefix="/v1", tags=["live"], responses=problems.RESPONSES, dependencies=[Depends(check_names)])
_log = logging.getLogger(__name__)


class StatusFeed:
    """The status and the newest messages as JSON, read every second, once for all listeners, if there are any."""

    def __init__(self, status: PipelineStatus, topic: TopicMonitor) -> None:
        self._status, self._topic = status, topic
        self.listeners = 0
        self._is_stopped = False
        self._status_json: bytes = b""
        self._messages_json: bytes = b""

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            self._topic.is_sampling = self.listeners > 0
            if self.listeners:
                try:
                    await self._read()
                except Exception:
                    # The next attempt may succeed.
                    _log.exception("The state of the pipeline could not be read.")
            else:
                # Outdated by the time of the next listener.
                self._status_json = self._messages_json = b""
            await asyncio.sleep(_READ_SECONDS)

    async def _read(self) -> None:
        self._status_json = to_json(await run_in_threadpool(self._status.read))
        messages = await run_in_threadpool(self._status.newest_messages)
        self._messages_json = to_json({"messages": messages}) if messages else b""

    def stop(self) -> None:
        """End all event streams: a server that shuts down waits for its responses to end."""
        self._is_stopped = True

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Yield each status as a `status` event, and the messages as a `sample` event when they have changed."""
        self.listeners += 1
        sent_status = sent_messages = b""
        try:
            while not self._is_stopped:
                if self._status_json != sent_status:
                    sent_status = self._status_json
                    yield ServerSentEvent(raw_data=sent_status.decode(), event="status")
                if self._messages_json and self._messages_json != sent_messages:
                    sent_messages = self._messages_json
                    yield ServerSentEvent(raw_data=sent_messages.decode(), event="sample")
                await asyncio.sleep(_CHECK_SECONDS)
        finally:
            self.listeners -= 1


@router.get("/status", response_model=models.Status)
async def status(request: Request) -> Response:
    """Counts and freshness of both layers, what was rejected, and the latest result of jobs/identity.py."""
    return render(await run_in_threadpool(request.app.state.status.read))


@router.get("/live", response_class=EventSourceResponse)
async def live(request: Request) -> AsyncIterator[ServerSentEvent]:
    """The status every second as server-sent events (`status`), and the newest messages of the topic (`sample`)."""
    async for event in request.app.state.status_feed.events():
        yield event
