"""The application: everything that the server is made of, put together."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from lambda_spark import parsing
from lambda_spark.api import health, metrics, page, problems, product_routes, pulse, user_routes
from lambda_spark.api.guard import Guard
from lambda_spark.api.keeper import Keeper
from lambda_spark.api.pulse import Pulse
from lambda_spark.api.status import Status
from lambda_spark.api.topic import TopicWatch
from lambda_spark.errors import SettingsError
from lambda_spark.settings import Settings

# What is measured is at /metrics; FastAPI would look for OpenTelemetry's providers at each request.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
# Against pages that give themselves a name of this machine: only these name it.
_LOOPBACK_NAMES = ["127.0.0.1", "localhost", "[::1]", "::1"]


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
    app = FastAPI(title="lambda-spark", docs_url=None, redoc_url=None, lifespan=_life, telemetry=_NO_TELEMETRY)
    keeper, topic = Keeper(settings), TopicWatch(settings.kafka)
    status, counted = Status(keeper, topic), metrics.Metrics()
    counted.registry.register(metrics.PipelineCollector(status, keeper))
    app.state.keeper, app.state.topic, app.state.status = keeper, topic, status
    app.state.pulse, app.state.metrics = Pulse(status, topic), counted
    for part in (user_routes, product_routes, pulse, health, metrics):
        # Included as a router, its routes would be gone through twice for each request.
        app.router.routes.extend(part.router.routes)
    page.install(app)
    problems.install(app)
    if serve.cors_origins:
        app.add_middleware(CORSMiddleware, allow_origins=serve.cors_origins, allow_headers=["Authorization"])
    if serve.is_loopback:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=_LOOPBACK_NAMES)
    app.add_middleware(Guard, settings=serve, metrics=counted)
    return app


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """Keep all of it up to date for as long as the server runs."""
    app.state.keeper.start()
    app.state.topic.start()
    beat = asyncio.create_task(app.state.pulse.run())
    yield
    beat.cancel()
    with suppress(asyncio.CancelledError):
        await beat
    app.state.keeper.stop()
    app.state.topic.stop()
