"""The application: routes, page, middleware and background work, put together, and its OpenAPI description."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Response
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from lambda_spark import engine
from lambda_spark.api import problems
from lambda_spark.api.middleware import AccessControl, ResponseCompletion
from lambda_spark.api.pipeline_status import PipelineStatus
from lambda_spark.api.routes import operations, products, status, users
from lambda_spark.api.topic import TopicMonitor
from lambda_spark.api.view_cache import ViewCache
from lambda_spark.errors import SettingsError
from lambda_spark.report.chart_style import vega_script
from lambda_spark.settings import Settings

# /metrics has the metrics; FastAPI would look for OpenTelemetry's providers at each request.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}

_DESCRIPTION = """
What trends in a shop, and what is recommended to its users, as both layers know it now. Ids are texts, since JavaScript
rounds long numbers; instants are UTC; ranges are half open. What goes wrong is a problem of RFC 9457.
"""

_EXAMPLES = files("lambda_spark.api").joinpath("examples.json")
_SECURITY_SCHEMES = {"token": {"type": "http", "scheme": "bearer"}}
_OPEN_PATHS = ("/health/live", "/health/ready")

_PAGE = files("lambda_spark.api").joinpath("page")
_LICENSE = "Vega, Vega-Lite, vega-embed (BSD 3-clause) and D3 (ISC): /page/vega-license.txt"


def create_app(settings: Settings) -> FastAPI:
    """Create the application over the tables of a data root, which it reads once before this returns.

    Raises SettingsError if other machines could reach it without a token.
    """
    serve = settings.serve
    if not serve.is_loopback and serve.token is None:
        raise SettingsError(
            f"The server would be open to whoever reaches {serve.host}: set a token in LAMBDA_SERVE__TOKEN, "
            "or leave the host at 127.0.0.1."
        )
    # The default of one thread is for Spark, which runs a task per core.
    engine.connect().execute(f"SET threads TO {os.cpu_count() or 1}")
    app = FastAPI(
        title="lambda-spark",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_background_work,
        telemetry=_NO_TELEMETRY,
    )
    _add_state(app, settings)
    routers = (users.router, products.router, status.router, operations.health_router, operations.metrics_router)
    for router in routers:
        # With include_router, each request would be matched against these routes twice.
        app.router.routes.extend(router.routes)
    _add_page(app)
    problems.add_error_handlers(app)
    _complete_openapi(app, serve.token is not None)
    # The middleware that is added last comes first: CORS before AccessControl, since preflight requests have no token.
    app.add_middleware(AccessControl, settings=serve)
    if serve.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=serve.cors_origins,
            allow_headers=["Authorization"],
            expose_headers=["Retry-After"],
        )
    app.add_middleware(ResponseCompletion, metrics=app.state.metrics)
    return app


def _add_state(app: FastAPI, settings: Settings) -> None:
    """Create what the routes share: the views, the topic, the status, its feed, and the metrics."""
    state = app.state
    state.views, state.topic = ViewCache(settings), TopicMonitor(settings.kafka)
    state.status = PipelineStatus(state.views, state.topic)
    state.status_feed = status.StatusFeed(state.status, state.topic)
    state.metrics = operations.RequestMetrics()
    state.metrics.registry.register(operations.PipelineCollector(state.status, state.views, state.status_feed))


@asynccontextmanager
async def _background_work(app: FastAPI) -> AsyncIterator[None]:
    """Keep the views, the topic's state and the status feed current as long as the server runs."""
    state = app.state
    state.views.start()
    state.topic.start()
    feed = asyncio.create_task(state.status_feed.run())
    yield
    state.status_feed.stop()
    feed.cancel()
    with suppress(asyncio.CancelledError):
        await feed
    state.views.stop()
    state.topic.stop()


def _add_page(app: FastAPI) -> None:
    """Serve the page at /, its files, and the chart library, which is not loaded from the internet."""
    app.add_api_route("/", _index, include_in_schema=False)
    app.add_api_route("/page/vega.js", _vega, include_in_schema=False)
    app.mount("/page", StaticFiles(directory=str(_PAGE)), name="page")


async def _index() -> Response:
    return FileResponse(str(_PAGE.joinpath("index.html")))


def _vega() -> Response:
    return Response(_licensed_vega(), media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})


@cache
def _licensed_vega() -> bytes:
    return f"/*! {_LICENSE} */\n{vega_script()}".encode()


def _complete_openapi(app: FastAPI, has_token: bool) -> None:
    """Complete FastAPI's OpenAPI description when it is first asked for."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(describe(), has_token)
        return describe()

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(description: dict[str, Any], has_token: bool) -> None:
    """Add the media type of problems, the token that a route needs, and an example of each answer."""
    examples = json.loads(_EXAMPLES.read_bytes())
    if has_token:
        description["components"]["securitySchemes"] = _SECURITY_SCHEMES
    for path, methods in description["paths"].items():
        operation = methods["get"]
        if has_token and path not in _OPEN_PATHS:
            operation["security"] = [{name: [] for name in _SECURITY_SCHEMES}]
        for code, response in operation["responses"].items():
            if code != "200":
                response["content"] = {problems.MEDIA_TYPE: next(iter(response["content"].values()))}
        if path in examples:
            operation["responses"]["200"]["content"]["application/json"]["example"] = examples[path]
