"""/health: whether the server lives, and whether it can answer; where not, why and what to do.

/metrics for Prometheus: requests, how old the views are, how far the stream is behind, what it holds and rejects.

The page at /, its files, and the chart library.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from lambda_spark.api import models, problems
from lambda_spark.api.problems import Cause, cause_of, problem, render
from lambda_spark.api.routes.status import Status, StatusFeed
from lambda_spark.api.view_cache import ViewCache
from lambda_spark.report.chart_style import vega_script

_NO_BRANDS = "No user's brands are known yet: run jobs/speed_stream.py or jobs/batch_brands.py."
health_router = APIRouter(prefix="/health", tags=["operations"])


@health_router.get("/live", response_model=models.Health)
async def live() -> Response:
    """Whether the server lives."""
    return render({"status": "live"})


@health_router.get("/ready", response_model=models.Health, responses={503: problems.RESPONSES[503]})
async def ready(request: Request) -> Response:
    """Whether questions can be answered; where not, all causes and what to run."""
    causes = list(_causes(request.app.state.keeper))
    if causes:
        first = causes[0]
        return problem("not-ready", 503, first.cause, causes, remedy=first.remedy)
    return render({"status": "ready"})


def _causes(keeper: ViewCache) -> Iterator[Cause]:
    root = keeper.settings.data_root
    if keeper.known is None or keeper.default is None:
        yield cause_of(keeper.cause, root)
    if not keeper.users.recent_users(1):
        yield cause_of(_NO_BRANDS, root)


_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
metrics_router = APIRouter(tags=["operations"])


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

    def __init__(self, status: Status, keeper: ViewCache, pulse: StatusFeed) -> None:
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


@metrics_router.get(
    "/metrics", response_class=PlainTextResponse, responses={s: problems.RESPONSES[s] for s in (401, 429)}
)
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


_LICENSE = "Vega, Vega-Lite, vega-embed (BSD 3-clause) and D3 (ISC): /page/vega-license.txt"
_FOLDER = files("lambda_spark.api").joinpath("page")


def install(app: FastAPI) -> None:
    """Serve them."""
    app.add_api_route("/", _index, include_in_schema=False)
    app.add_api_route("/page/vega.js", _vega, include_in_schema=False)
    app.mount("/page", StaticFiles(directory=str(_FOLDER)), name="page")


async def _index() -> Response:
    return FileResponse(str(_FOLDER.joinpath("index.html")))


def _vega() -> Response:
    return Response(_script(), media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})


@cache
def _script() -> bytes:
    return f"/*! {_LICENSE} */\n{vega_script()}".encode()
