"""Run moto's S3 server, in which a conditional put is one step: `python s3_server.py PORT`."""

import sys
from collections.abc import Iterable
from contextlib import nullcontext
from threading import Lock
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


def with_conditional_puts_one_at_a_time(application: WSGIApplication) -> WSGIApplication:
    """Return the application that keeps S3's promise: of two puts with `If-None-Match: *` only one succeeds.

    Moto checks the key and stores it in two steps: two requests at once may both succeed.
    """
    lock = Lock()

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with lock if "HTTP_IF_NONE_MATCH" in environ else nullcontext():
            return application(environ, start_response)

    return serve


if __name__ == "__main__":
    moto = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", int(sys.argv[1]), with_conditional_puts_one_at_a_time(moto), threaded=True)
