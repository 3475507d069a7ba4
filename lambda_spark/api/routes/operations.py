"""/health and /metrics: what operators and their tools ask, in the format of Prometheus for metrics."""

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

from lambda_spark.api import models, problems
from lambda_spark.api.models import render
from lambda_spark.api.pipeline_status import PipelineStatus
from lambda_spark.api.problems import Cause, cause_of, problem
from lambda_spark.api.routes.status import StatusFeed
from lambda_spark.api.view_cache import ViewCache

_NO_BRANDS = "No user's brands are known yet: run jobs/speed_stream.py or jobs/batch_brands.py."
_LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
health_router = APIRouter(prefix="/health", tags=["operations"])
metrics_router = APIRouter(tags=["operations"])


@health_router.get("/live", response_model=models.Health)
async def live() -> Response:
    """Whether the server is running."""
    return render({"status": "live"})


@health_router.get("/ready", response_model=models.Health, responses={503: problems.RESPONSES[503]})
async def ready(request: Request) -> Response:
    """Whether requests can be answered; if not, all causes and what to run."""
    causes = list(_causes(request.app.state.views))
    if causes:
        first = causes[0]
        return problem("not-ready", 503, first.cause, causes, remedy=first.remedy)
    return render({"status": "ready"})


def _causes(views: ViewCache) -> Iterator[Cause]:
    root = views.settings.data_root
    if views.snapshot is None or views.default_window is None:
        yield cause_of(views.cause, root)
    if not views.users.recent_users(1):
        yield cause_of(_NO_BRANDS, root)


class RequestMetrics:
    """Counts and latencies of requests by route and status; `none` is the route of unknown paths."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        names = ("route", "status")
        requests = Counter("lambda_spark_requests", "Requests answered.", names, registry=self.registry)
        seconds = Histogram(
            "lambda_spark_request_seconds",
            "Time to answer.",
            ("route",),
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        # Cached, since the lookup takes longer than counting.
        self._requests, self._seconds = cache(requests.labels), cache(seconds.labels)

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request that was answered in so many seconds."""
        route = getattr(scope.get("route"), "path", "none")
        self._requests(route, status).inc()
        self._seconds(route).observe(seconds)


class PipelineCollector(Collector):
    """Collects the metrics of the pipeline at each scrape."""

    def __init__(self, status: PipelineStatus, views: ViewCache, feed: StatusFeed) -> None:
        self._status, self._views, self._feed = status, views, feed

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        status = self._status.read()
        batch, speed, now = status["batch"], status["speed"], status["now"]
        yield _gauge("batch_view_age_seconds", "Since the master dataset last grew.", _age(now, batch["committed_at"]))
        yield _gauge(
            "realtime_view_age_seconds", "Since the realtime view last grew.", _age(now, speed["committed_at"])
        )
        yield _gauge("stream_behind_messages", "Messages the speed layer has not processed.", speed["behind"])
        yield _gauge("stream_lag_seconds", "How long the oldest of these has been waiting.", speed["lag_s"])
        yield _gauge("state_users", "Users in the realtime view.", self._views.users.realtime_count())
        yield _gauge("live_listeners", "Open requests to /v1/live.", self._feed.listeners)
        received = [("batch", batch["received"]), ("speed", speed["received"])]
        yield _counter("received_messages", "Messages received.", "layer", received)
        yield _counter("stored_events", "Events in the master dataset.", None, [("", batch["stored"])])
        rejected = [(each["reason"], each["count"]) for each in status["rejects"]]
        yield _counter("rejected_messages", "Messages and lines that aren't events.", "reason", rejected)


@metrics_router.get(
    "/metrics", response_class=PlainTextResponse, responses={s: problems.RESPONSES[s] for s in (401, 429)}
)
async def metrics(request: Request) -> Response:
    """Metrics in the format of Prometheus."""
    text = await run_in_threadpool(generate_latest, request.app.state.metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    family = GaugeMetricFamily(f"lambda_spark_{name}", text)
    if value is not None:
        family.add_metric([], value)
    return family


def _counter(name: str, text: str, label: str | None, values: Iterable[tuple[str, Any]]) -> Metric:
    family = CounterMetricFamily(f"lambda_spark_{name}", text, labels=[label] if label else [])
    for value, count in values:
        family.add_metric([value] if label else [], count)
    return family


def _age(now: datetime, then: datetime | None) -> float | None:
    return (now.astimezone(timezone.utc) - then).total_seconds() if then else None
