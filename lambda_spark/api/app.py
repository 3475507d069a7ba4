"""The application: everything that the server is made of, put together.

The API's description: what FastAPI makes of the routes, with problems, the token and examples as they are.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware

from lambda_spark import engine
from lambda_spark.api import problems
from lambda_spark.api.middleware import Guard, ResponseHeaders
from lambda_spark.api.problems import MEDIA_TYPE
from lambda_spark.api.routes import operations, products, status, users
from lambda_spark.api.topic import TopicWatch
from lambda_spark.api.view_cache import ViewCache
from lambda_spark.errors import SettingsError
from lambda_spark.settings import Settings

# What is measured is at /metrics; FastAPI would look for OpenTelemetry's providers at each request.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}

_DESCRIPTION = """
What trends in a shop, and what is recommended to its users, as both layers know it now. Ids are texts, since JavaScript
rounds long numbers; instants are UTC; ranges are half open. What goes wrong is a problem of RFC 9457.
"""


def create_app(settings: Settings) -> FastAPI:
    """Make the application over the tables of a data root; it reads them once before this returns.

    Raises SettingsError where it would be open to others without a token.
    """
    serve = settings.serve
    if not serve.is_loopback and serve.token is None:
        raise SettingsError(
            f"The server would be open to whoever reaches {serve.host}: set a token in LAMBDA_SERVE__TOKEN, "
            "or leave the host at 127.0.0.1."
        )
    # Elsewhere DuckDB has one thread, since Spark runs a task per core.
    engine.connect().execute(f"SET threads TO {os.cpu_count() or 1}")
    app = FastAPI(
        title="lambda-spark",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_life,
        telemetry=_NO_TELEMETRY,
    )
    keeper, topic = ViewCache(settings), TopicWatch(settings.kafka)
    pipeline_status, counted = status.Status(keeper, topic), operations.Metrics()
    beat = status.StatusFeed(pipeline_status, topic)
    counted.registry.register(operations.PipelineCollector(pipeline_status, keeper, beat))
    app.state.keeper, app.state.topic, app.state.status = keeper, topic, pipeline_status
    app.state.pulse, app.state.metrics = beat, counted
    routers = (users.router, products.router, status.router, operations.health_router, operations.metrics_router)
    for router in routers:
        # Included as a router, its routes would be gone through twice for each request.
        app.router.routes.extend(router.routes)
    operations.install(app)
    problems.install(app)
    install(app, serve.token is not None)
    # The last one added is the first that a request comes to; what a browser asks ahead of a request has no token.
    app.add_middleware(Guard, settings=serve)
    if serve.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=serve.cors_origins,
            allow_headers=["Authorization"],
            expose_headers=["Retry-After"],
        )
    app.add_middleware(ResponseHeaders, metrics=counted)
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """Keep all of it up to date for as long as the server runs."""
    app.state.keeper.start()
    app.state.topic.start()
    beat = asyncio.create_task(app.state.pulse.run())
    yield
    app.state.pulse.stop()
    beat.cancel()
    with suppress(asyncio.CancelledError):
        await beat
    app.state.keeper.stop()
    app.state.topic.stop()


_EXAMPLES = files("lambda_spark.api").joinpath("examples.json")
_SCHEME = {"token": {"type": "http", "scheme": "bearer"}}
_OPEN = ("/health/live", "/health/ready")


def install(app: FastAPI, has_token: bool) -> None:
    """Have the application describe itself in this way."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(describe(), has_token)
        return describe()

    app.openapi = described  # type: ignore[method-assign]


def _complete(description: dict[str, Any], has_token: bool) -> None:
    """Say that problems are of their own media type, where a token is needed, and what an answer looks like."""
    examples = json.loads(_EXAMPLES.read_bytes())
    if has_token:
        description["components"]["securitySchemes"] = _SCHEME
    for path, methods in description["paths"].items():
        operation = methods["get"]
        if has_token and path not in _OPEN:
            operation["security"] = [{name: [] for name in _SCHEME}]
        for code, response in operation["responses"].items():
            if code != "200":
                response["content"] = {MEDIA_TYPE: next(iter(response["content"].values()))}
        if path in examples:
            operation["responses"]["200"]["content"]["application/json"]["example"] = examples[path]
