"""/metrics for Prometheus: requests, how old the views are, how far the stream is behind, what it holds and rejects."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from functools import cache
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from lambda_spark.api import problems
from lambda_spark.api.keeper import Keeper
from lambda_spark.api.pulse import Pulse
from lambda_spark.api.status import Status

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

router = APIRouter(tags=["operations"])


class Metrics:
    """Counts requests by route and status; a request of no route counts under the name `none`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ("route", "status")
        requests = Counter("lambda_spark_requests", "Requests answered.", names, registry=self.registry)
        seconds = Histogram(
            "lambda_spark_request_seconds", "Time to answer.", ("route",), buckets=_SECONDS, registry=self.registry
        )
        # To find the same ones again takes longer than to count.
        self._requests, self._seconds = cache(requests.labels), cache(seconds.labels)

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request that has been answered."""
        route = getattr(scope.get("route"), "path", "none")
        self._requests(route, status).inc()
        self._seconds(route).observe(seconds)


class PipelineCollector(Collector):
    """Reads the state of the pipeline whenever it is asked for."""

    def __init__(self, status: Status, keeper: Keeper, pulse: Pulse) -> None:
        self._status, self._keeper, self._pulse = status, keeper, pulse

    def collect(self) -> Iterator[Metric]:
        """Yield what is measured of it."""
        state = self._status.read()
        batch, speed, now = state["batch"], state["speed"], state["now"]
        yield _gauge("batch_view_age_seconds", "Since the master dataset last grew.", _age(now, batch["committed_at"]))
        yield _gauge(
            "realtime_view_age_seconds", "Since the realtime view last grew.", _age(now, speed["committed_at"])
        )
        yield _gauge("stream_behind_messages", "Messages the speed layer has not taken in.", speed["behind"])
        yield _gauge("stream_lag_seconds", "For how long the oldest of these has been waiting.", speed["lag_s"])
        yield _gauge("state_users", "Users that the speed layer holds.", self._keeper.users.realtime_count())
        yield _gauge("live_listeners", "Who listens to /v1/live now.", self._pulse.listeners)
        received = [("batch", batch["received"]), ("speed", speed["received"])]
        yield _counter("received_messages", "Messages received.", "layer", received)
        yield _counter("stored_events", "Events in the master dataset.", None, [("", batch["stored"])])
        rejected = [(each["reason"], each["count"]) for each in state["rejects"]]
        yield _counter("rejected_messages", "Messages and lines that are no event.", "reason", rejected)


@router.get("/metrics", response_class=PlainTextResponse, responses={s: problems.RESPONSES[s] for s in (401, 429)})
async def metrics(request: Request) -> Response:
    """Metrics in the format of Prometheus."""
    text = await run_in_threadpool(generate_latest, request.app.state.metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    found = GaugeMetricFamily(f"lambda_spark_{name}", text)
    if value is not None:
        found.add_metric([], value)
    return found


def _counter(name: str, text: str, label: str | None, values: Iterable[tuple[str, Any]]) -> Metric:
    found = CounterMetricFamily(f"lambda_spark_{name}", text, labels=[label] if label else [])
    for value, count in values:
        found.add_metric([value] if label else [], count)
    return found


def _age(now: datetime, then: datetime | None) -> float | None:
    return (now.astimezone(timezone.utc) - then).total_seconds() if then else None
