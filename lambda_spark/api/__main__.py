"""`make serve`: the API and its page, over the tables of a pipeline that runs or has run."""

import argparse
import socket

import uvicorn

from lambda_spark import cli
from lambda_spark.api.app import create_app
from lambda_spark.errors import SettingsError
from lambda_spark.settings import ServeSettings

_STOP_SECONDS = 2


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
        print(f"Serving {settings.data_root} at http://{host}:{port}; Ctrl-C ends it.", flush=True)
        config = uvicorn.Config(
            app,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        uvicorn.Server(config).run([listener])


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
