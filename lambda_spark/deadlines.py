"""Queries that are given up where they take too long: set around the work, seen by each query in it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Timer

import duckdb

from lambda_spark.errors import TooSlowError

# When the work has to be done, by the clock of time.monotonic, and how many seconds it had.
_due: ContextVar[tuple[float, float] | None] = ContextVar("due", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give what is done inside the block so much time. Raises TooSlowError from a query that would take longer."""
    before = _due.set((time.monotonic() + seconds, seconds))
    try:
        yield
    finally:
        _due.reset(before)


@contextmanager
def interrupted_when_due(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupt what runs on the connection at the end of the time it has, if there is one."""
    due = _due.get()
    if due is None:
        yield
        return
    timer = Timer(max(due[0] - time.monotonic(), 0), connection.interrupt)
    timer.start()
    try:
        yield
    except duckdb.InterruptException as error:
        raise TooSlowError(f"The answer took more than {due[1]:g} s: ask for a shorter range.") from error
    finally:
        timer.cancel()
