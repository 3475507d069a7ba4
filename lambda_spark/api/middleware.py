"""How requests are read from the network: as uvicorn does it, but with a limit to what is gathered of one.

How often a client may ask: so many times in a second, wherever the second begins.

Who may ask, how, and how often: refused before anything of a request is looked at more closely.

Around the whole application: what every answer carries, however it came about; a problem where all else failed.
"""

import hmac
import logging
import math
import time
from collections import Counter
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lambda_spark.api.problems import problem
from lambda_spark.api.routes.operations import Metrics
from lambda_spark.settings import ServeSettings

# Well above what the guard refuses, which can say so in a better way.
_MOST_BYTES = 65_536


class BoundedProtocol(HttpToolsProtocol):
    """Hangs up on whoever sends a URL or headers without end, all of which would be kept in memory."""

    _gathered: float = 0

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._gathered = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """End that: a body is not gathered."""
        self._gathered = -math.inf
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take what has come."""
        self._gathered += len(data)
        super().data_received(data)
        if self._gathered > _MOST_BYTES and not self.transport.is_closing():
            self.send_400_response("The URL and headers are too long.")


class RateLimit:
    """Counts each client's requests in this second and in the one before, which counts as far as it is in the last one.

    Libraries for this start a thread a hundred times a second to forget what is old, which took a seventh of the time
    of an answer; here all of a second is forgotten at once.
    """

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._second = 0
        self._before: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()

    def allows(self, client: str, now: float) -> bool:
        """Say whether the client may ask now, in seconds of a clock that never goes back; if so, that is counted."""
        second = int(now)
        if second != self._second:
            self._before = self._counted if second == self._second + 1 else Counter()
            self._second, self._counted = second, Counter()
        weighted = self._before[client] * (1 - now % 1) + self._counted[client]
        if weighted + 1 > self.per_second:
            return False
        self._counted[client] += 1
        return True


# The page and the health of the server are for everybody who can reach it: they tell nothing of users.
_OPEN = ("/page/", "/health/")

# The names of this machine: a page elsewhere that gives itself an address here still asks by a name of its own.
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
MOST_URL_BYTES, MOST_HEADER_BYTES = 8_192, 16_384


class Guard:
    """Lets through what may pass."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app, self._is_loopback = app, settings.is_loopback
        self._token = settings.token.get_secret_value().encode() if settings.token else None
        self._limit = RateLimit(settings.requests_per_second)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        is_refused = scope["type"] == "http" and self._refusal(scope)
        await (is_refused or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """Return the answer to a request that may not pass."""
        if len(scope["raw_path"]) + len(scope["query_string"]) > MOST_URL_BYTES:
            return _refused("url-too-long", 414, f"The URL has more than {MOST_URL_BYTES:,} bytes.", "Ask for less.")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADER_BYTES:
            detail = f"The headers have more than {MOST_HEADER_BYTES:,} bytes."
            return _refused("headers-too-long", 431, detail, "Send fewer of them.")
        if self._is_loopback and not _is_from_here(_header(scope, b"host")):
            detail = "The server is for this machine alone, and was asked by another name."
            return _refused("foreign-host", 400, detail, "Ask http://127.0.0.1 or http://localhost, with its port.")
        if scope["path"] == "/" or scope["path"].startswith(_OPEN):
            return None
        if self._token is not None and not hmac.compare_digest(_bearer(scope), self._token):
            detail, remedy = "The bearer token is missing or another.", "Send it: Authorization: Bearer …"
            return _refused("unauthorized", 401, detail, remedy, {"WWW-Authenticate": "Bearer"})
        if not self._limit.allows((scope["client"] or ("?",))[0], time.monotonic()):
            detail = f"More than {self._limit.per_second:,} requests in a second."
            remedy = "Wait a second, then ask again."
            return _refused("too-many-requests", 429, detail, remedy, {"Retry-After": "1"})
        return None


def _is_from_here(host: bytes) -> bool:
    try:
        return urlsplit(f"//{host.decode('latin-1')}").hostname in _LOOPBACK_NAMES
    except ValueError:
        return False


def _bearer(scope: Scope) -> bytes:
    scheme, _, token = _header(scope, b"authorization").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _refused(kind: str, status: int, detail: str, remedy: str, headers: dict[str, str] | None = None) -> ASGIApp:
    response = problem(kind, status, detail, remedy=remedy)
    response.headers.update(headers or {})
    return response


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


class ResponseHeaders:
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
