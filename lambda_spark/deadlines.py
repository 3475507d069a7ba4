"""Queries that are given up where they take too long: set around the work, seen by each query in it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Thread

import duckdb

from lambda_spark.errors import TooSlowError

_AGAIN_SECONDS = 0.05

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


def seconds_left() -> float:
    """Return how much time is left; -1, which locks take for no end, where the work has no deadline.

    Raises TooSlowError where there is none.
    """
    due = _due.get()
    if due is None:
        return -1.0
    if (left := due[0] - time.monotonic()) <= 0:
        raise too_slow()
    return left


def too_slow() -> TooSlowError:
    """Return the error that work inside the block ends with."""
    due = _due.get()
    return TooSlowError(f"The answer took more than {due[1] if due else 0:g} s: ask for a shorter range.")


@contextmanager
def interrupted_when_due(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Interrupt what runs on the connection at the end of the time it has, if there is one."""
    left = seconds_left()
    if left < 0:
        yield
        return
    done = Event()
    Thread(target=_interrupt, args=(connection, left, done), daemon=True).start()
    try:
        yield
    except duckdb.InterruptException as error:
        raise too_slow() from error
    finally:
        done.set()


def _interrupt(connection: duckdb.DuckDBPyConnection, seconds: float, done: Event) -> None:
    """Interrupt until the query has ended: DuckDB forgets an interruption that comes just before a query begins."""
    pause = seconds
    while not done.wait(pause):
        connection.interrupt()
        pause = _AGAIN_SECONDS
