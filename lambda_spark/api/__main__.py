"""`make serve`: the API and its page, over the tables of a pipeline that runs or has run."""

import argparse
import math
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from lambda_spark import cli
from lambda_spark.api.app import create_app
from lambda_spark.api.middleware import BoundedProtocol
from lambda_spark.errors import SettingsError
from lambda_spark.settings import ServeSettings


class _Server(uvicorn.Server):
    """Says where it serves once it does, and ends the streams of whoever listens before it waits for answers to end."""

    def __init__(self, app: FastAPI, serve: ServeSettings, greeting: str) -> None:
        self._pulse, self._greeting = app.state.pulse, greeting
        config = uvicorn.Config(
            app,
            http=BoundedProtocol,
            ws="none",
            access_log=False,
            log_level="warning",
            server_header=False,
            # Whom a limit is for is who connects, not who it says it is.
            proxy_headers=False,
            # So that a query that runs can still be answered or given up.
            timeout_graceful_shutdown=math.ceil(serve.deadline_seconds) + 1,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        print(self._greeting, flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        self._pulse.stop()
        super().handle_exit(sig, frame)


def main() -> None:
    """Parse the options and serve until Ctrl-C."""
    options = argparse.ArgumentParser(prog="python -m lambda_spark.api", description=__doc__)
    options.add_argument("--host", help="where to listen (default: 127.0.0.1, this machine alone)")
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
    """Take the port, before anything is read. Raises SettingsError."""
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
