"""Around the whole application: what every answer carries, however it came about; a problem where all else failed."""

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_spark.api.metrics import Metrics
from lambda_spark.api.problems import problem

_CONTENT = "; ".join(
    (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
)
# As ASGI has them, in bytes.
_HEADERS = (
    (b"content-security-policy", _CONTENT.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)

_log = logging.getLogger(__name__)


class Shell:
    """Gives every answer its headers, and counts it; what fails is told to the log alone."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in _HEADERS if each[0] not in given)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            _log.exception("%s %r failed.", scope["method"], scope["path"])
            if not status:
                fault = problem("fault", 500, "The server could not answer.", remedy="Its log says why.")
                await fault(scope, receive, send_with_headers)
        finally:
            if status:
                self._metrics.observe(scope, status, time.perf_counter() - begin)
