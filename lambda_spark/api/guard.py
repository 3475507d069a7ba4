"""Who may ask and how often, and the headers of every answer: around the application, for each request alike."""

import hmac
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_spark.api.metrics import Metrics
from lambda_spark.api.problems import problem
from lambda_spark.api.rate_limit import RateLimit
from lambda_spark.settings import ServeSettings

# The page and the health of the server are for everybody who can reach it: they tell nothing of users.
_PROTECTED = ("/v1/", "/metrics", "/openapi.json")

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


class Guard:
    """Lets through what may pass; counts all of it."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        token = settings.token
        self._token = f"Bearer {token.get_secret_value()}".encode() if token else None
        self._limit = RateLimit(settings.requests_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in _HEADERS if each[0] not in given)]
            await send(message)

        try:
            await (self._refusal(scope) or self._app)(scope, receive, send_with_headers)
        finally:
            self._metrics.observe(scope, status, time.perf_counter() - begin)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """Return the answer to a request that may not pass."""
        if not scope["path"].startswith(_PROTECTED):
            return None
        if self._token and not hmac.compare_digest(_header(scope, b"authorization"), self._token):
            return _refused(
                "unauthorized", 401, "The bearer token is missing or another.", "Send it: Authorization: Bearer …"
            )
        if not self._limit.allows((scope["client"] or ("?",))[0], time.monotonic()):
            detail = f"More than {self._limit.per_second:,} requests in a second."
            return _refused("too-many-requests", 429, detail, "Wait a second, then ask again.")
        return None


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _refused(kind: str, status: int, detail: str, remedy: str) -> ASGIApp:
    response = problem(kind, status, detail, remedy=remedy)
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status == 429:
        response.headers["Retry-After"] = "1"
    return response
