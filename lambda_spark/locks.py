"""Work that two processes must not do at once."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lambda_spark.errors import LambdaSparkError
from lambda_spark.storage import is_local


@contextmanager
def alone(path: str, refusal: LambdaSparkError) -> Iterator[None]:
    """Hold the lock beside the path; raise the refusal where another process does. On object storage there is none."""
    if not is_local(path):
        yield
        return
    file = Path(f"{path}.lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield
