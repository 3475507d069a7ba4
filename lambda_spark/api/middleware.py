"""Middleware around all routes: refuses requests that are not allowed, and completes every response."""

import hmac
import logging
import time
from collections import Counter
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lambda_spark.api.problems import problem
from lambda_spark.api.routes.operations import RequestMetrics
from lambda_spark.settings import ServeSettings

MOST_URL_BYTES, MOST_HEADER_BYTES = 8_192, 16_384

# The page and the server's health need no token: they contain nothing about users.
_OPEN_PATHS = ("/page/", "/health/")

# A page from elsewhere whose domain name was pointed at this machine still sends that name (DNS rebinding).
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
)

# Bytes, as ASGI requires.
_SECURITY_HEADERS = (
    (b"content-security-policy", _CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_log = logging.getLogger(__name__)


class AccessControl:
    """Answers a request with a problem if its size, host, token or rate is not allowed."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app, self._is_loopback = app, settings.is_loopback
        self._token = settings.token.get_secret_value().encode() if settings.token else None
        self._limit = RateLimit(settings.requests_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it to the application."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """Return the response to a request that is not allowed, None if it is."""
        if len(scope["raw_path"]) + len(scope["query_string"]) > MOST_URL_BYTES:
            return _refused("url-too-long", 414, f"The URL has more than {MOST_URL_BYTES:,} bytes.", "Ask for less.")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADER_BYTES:
            detail = f"The headers have more than {MOST_HEADER_BYTES:,} bytes."
            return _refused("headers-too-long", 431, detail, "Send fewer of them.")
        if self._is_loopback and not _names_loopback(_header(scope, b"host")):
            detail = "The server is for this machine alone, and was asked by another name."
            return _refused("foreign-host", 400, detail, "Ask http://127.0.0.1 or http://localhost, with its port.")
        if scope["path"] == "/" or scope["path"].startswith(_OPEN_PATHS):
            return None
        if self._token is not None and not hmac.compare_digest(_bearer_token(scope), self._token):
            detail, remedy = "The bearer token is missing or wrong.", "Send it: Authorization: Bearer …"
            return _refused("unauthorized", 401, detail, remedy, {"WWW-Authenticate": "Bearer"})
        if not self._limit.allows((scope["client"] or ("?",))[0], time.monotonic()):
            detail = f"More than {self._limit.per_second:,} requests in a second."
            remedy = "Wait a second, then ask again."
            return _refused("too-many-requests", 429, detail, remedy, {"Retry-After": "1"})
        return None


class RateLimit:
    """A limit of requests per client and second, by a sliding window estimated from this second and the one before.

    Own code, since libraries for this start a thread a hundred times a second to remove old entries, which took a
    seventh of the time of an answer.
    """

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._second = 0
        self._previous: Counter[str] = Counter()
        self._current: Counter[str] = Counter()

    def allows(self, client: str, now: float) -> bool:
        """Return True and count the request if the client may send it now, in seconds of a monotonic clock."""
        second = int(now)
        if second != self._second:
            self._previous = self._current if second == self._second + 1 else Counter()
            self._second, self._current = second, Counter()
        in_last_second = self._previous[client] * (1 - now % 1) + self._current[client]
        if in_last_second + 1 > self.per_second:
            return False
        self._current[client] += 1
        return True


class ResponseCompletion:
    """Adds the security headers to every response, counts it, and answers unexpected errors, which go to the log."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to the application and complete its response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name for name, _ in message["headers"]}
                missing = (header for header in _SECURITY_HEADERS if header[0] not in present)
                message["headers"] = [*message["headers"], *missing]
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


def _names_loopback(host: bytes) -> bool:
    try:
        return urlsplit(f"//{host.decode('latin-1')}").hostname in _LOOPBACK_NAMES
    except ValueError:
        return False


def _bearer_token(scope: Scope) -> bytes:
    scheme, _, token = _header(scope, b"authorization").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _refused(kind: str, status: int, detail: str, remedy: str, headers: dict[str, str] | None = None) -> ASGIApp:
    response = problem(kind, status, detail, remedy=remedy)
    response.headers.update(headers or {})
    return response
