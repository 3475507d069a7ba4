"""The application: everything that the server is made of, put together."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware

from lambda_spark import parsing
from lambda_spark.api import health, metrics, openapi, page, problems, product_routes, pulse, user_routes
from lambda_spark.api.guard import Guard
from lambda_spark.api.keeper import Keeper
from lambda_spark.api.pulse import Pulse
from lambda_spark.api.shell import Shell
from lambda_spark.api.status import Status
from lambda_spark.api.topic import TopicWatch
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
    parsing.connect().execute(f"SET threads TO {os.cpu_count() or 1}")
    app = FastAPI(
        title="lambda-spark",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_life,
        telemetry=_NO_TELEMETRY,
    )
    keeper, topic = Keeper(settings), TopicWatch(settings.kafka)
    status, counted = Status(keeper, topic), metrics.Metrics()
    beat = Pulse(status, topic)
    counted.registry.register(metrics.PipelineCollector(status, keeper, beat))
    app.state.keeper, app.state.topic, app.state.status = keeper, topic, status
    app.state.pulse, app.state.metrics = beat, counted
    for part in (user_routes, product_routes, pulse, health, metrics):
        # Included as a router, its routes would be gone through twice for each request.
        app.router.routes.extend(part.router.routes)
    page.install(app)
    problems.install(app)
    openapi.install(app, serve.token is not None)
    # The last one added is the first that a request comes to; what a browser asks ahead of a request has no token.
    app.add_middleware(Guard, settings=serve)
    if serve.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=serve.cors_origins,
            allow_headers=["Authorization"],
            expose_headers=["Retry-After"],
        )
    app.add_middleware(Shell, metrics=counted)
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
