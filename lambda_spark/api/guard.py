"""Who may ask, how, and how often: refused before anything of a request is looked at more closely."""

import hmac
import time
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from lambda_spark.api.problems import problem
from lambda_spark.api.rate_limit import RateLimit
from lambda_spark.settings import ServeSettings

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
