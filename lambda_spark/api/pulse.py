"""/v1/status and /v1/live: the state of the pipeline, once or every second."""

import asyncio
import logging
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from lambda_spark.api import problems, status_models
from lambda_spark.api.json_response import dump, render
from lambda_spark.api.parameters import check_names
from lambda_spark.api.status import Status
from lambda_spark.api.topic import TopicWatch

_SECONDS = 1.0

router = APIRouter(prefix="/v1", tags=["live"], responses=problems.RESPONSES, dependencies=[Depends(check_names)])

_log = logging.getLogger(__name__)


class Pulse:
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


@router.get("/status", response_model=status_models.Status)
async def status(request: Request) -> Response:
    """The counts of both layers, how far each is, what was rejected, and the identity's last result."""
    return render(await run_in_threadpool(request.app.state.status.read))


@router.get("/live", response_class=EventSourceResponse)
async def live(request: Request) -> AsyncIterator[ServerSentEvent]:
    """The same every second as server-sent events (`status`), and the newest messages of the topic (`sample`)."""
    async for event in request.app.state.pulse.events():
        yield event
