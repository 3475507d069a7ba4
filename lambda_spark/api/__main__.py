"""`make serve`: the HTTP API and its page, over the tables and the topic of a pipeline."""

import argparse
import math
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lambda_spark import cli
from lambda_spark.api.app import create_app
from lambda_spark.errors import SettingsError
from lambda_spark.settings import ServeSettings

# Well above the limits of api.middleware, whose refusal says what is wrong.
_MOST_REQUEST_BYTES = 65_536


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with a limit to the bytes of a URL and headers, which it holds in memory."""

    _received_bytes: float = 0

    def on_message_begin(self) -> None:
        """Start counting the bytes of a request."""
        self._received_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting: the body is not held in memory."""
        self._received_bytes = -math.inf
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Parse the bytes; closes the connection if there are too many of them before the headers are complete."""
        self._received_bytes += len(data)
        super().data_received(data)
        if self._received_bytes > _MOST_REQUEST_BYTES and not self.transport.is_closing():
            self.send_400_response("The URL and headers are too long.")


class _Server(uvicorn.Server):
    """uvicorn, which prints its address once it serves, and at a signal ends event streams instead of waiting."""

    def __init__(self, app: FastAPI, serve: ServeSettings, greeting: str) -> None:
        self._status_feed, self._greeting = app.state.status_feed, greeting
        config = uvicorn.Config(
            app,
            http=_BoundedProtocol,
            ws="none",
            access_log=False,
            log_level="warning",
            server_header=False,
            # The rate limit is per connecting address: a header with another address could be forged.
            proxy_headers=False,
            # A running query is answered or reaches its deadline within this time.
            timeout_graceful_shutdown=math.ceil(serve.deadline_seconds) + 1,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve, then print the greeting."""
        await super().startup(sockets)
        print(self._greeting, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End event streams, then shut down."""
        self._status_feed.stop()
        super().handle_exit(sig, frame)


def main() -> None:
    """Parse the options and serve until Ctrl-C."""
    options = argparse.ArgumentParser(prog="python -m lambda_spark.api", description=__doc__)
    options.add_argument("--host", help="address to listen on (default: 127.0.0.1, this machine alone)")
    options.add_argument("--port", type=int, help="the port (default: 8000)")
    cli.add_table_options(options)
    cli.add_topic_options(options)
    args = options.parse_args()
    settings = cli.load(args, serve={"host": args.host, "port": args.port})
    with _listen(settings.serve) as listener:
        app, (host, port, *_) = create_app(settings), listener.getsockname()
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        greeting = f"Serving {settings.data_root} at http://{address}; Ctrl-C ends it."
        _Server(app, settings.serve, greeting).run([listener])


def _listen(serve: ServeSettings) -> socket.socket:
    """Bind the port before any table is read. Raises SettingsError if it is not available."""
    family = socket.AF_INET6 if ":" in serve.host else socket.AF_INET
    try:
        return socket.create_server((serve.host, serve.port), family=family)
    except OSError as error:
        raise SettingsError(
            f"Cannot serve at {serve.host}:{serve.port} ({error.strerror}): end what runs there, or choose another "
            "with --port or LAMBDA_SERVE__PORT."
        ) from error


if __name__ == "__main__":
    cli.run(main)
