"""Queries that are given up where they take too long: set around the work, seen by each query in it.

What a brand is: trimmed, in lower case, and never empty, blank or `Unknown`.

Engines lower some letters differently (a final sigma, a dotted capital I), and some of them by the language of the
machine (I in Turkish, others in Lithuanian), so these are mapped first: a brand is the same text in whatever reads it.

Rows that stand together by their keys, as NumPy arrays: where a run begins, and the place of each row in its run.

What Spark's Python workers do once, before their first task.
"""

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Event, Thread
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.dataset import Dataset

from lambda_spark.errors import TooSlowError

_AGAIN_SECONDS = 0.05

# When the work has to be done, by the clock of time.monotonic, and how many seconds it had.
_due: ContextVar[tuple[float, float] | None] = ContextVar("due", default=None)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
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


_BLANKS = " \t\n\r\f\v\u00a0\u3000"
_UNEVEN = {"İ": "i", "Σ": "σ", "I": "i", "J": "j", "Ì": "ì", "Í": "í", "Ĩ": "ĩ", "Į": "į"}
_NO_BRAND = "unknown"


def brand_sql(brand: str) -> str:
    """Return the SQL for the brand that is compared, or NULL where there is none."""
    even = f"translate(trim({brand}, '{_BLANKS}'), '{''.join(_UNEVEN)}', '{''.join(_UNEVEN.values())}')"
    return f"nullif(nullif(lower({even}), ''), '{_NO_BRAND}')"


def starts_group(*keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Say of each row whether a run begins with it: whether it differs from the one before."""
    differs = np.ones(len(keys[0]), dtype=bool)
    differs[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return differs


def group_positions(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the place of each row in its run: 0, 1 and so on."""
    starts = np.flatnonzero(starts_group(*keys))
    count = len(keys[0])
    place: NDArray[np.int64] = np.arange(count) - np.repeat(starts, np.diff(starts, append=count))
    return place


@cache
def freeze_gc() -> None:
    """Keep what is loaded out of garbage collection, which Spark's workers run after each task.

    It would take 40 ms each time, and the next task waits for it: a small micro-batch has eight tasks.
    """
    gc.freeze()


@cache
def connect() -> duckdb.DuckDBPyConnection:
    """Open an in-memory DuckDB for this process: one thread, since Spark already runs a task per core.

    Kept for the next task: to open one takes as long as to parse some thousand messages.
    """
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def sql_list(event_types: Sequence[str]) -> str:
    """Return the event types as a list in SQL."""
    return ", ".join("'{}'".format(name.replace("'", "''")) for name in event_types)


def run_sql(connection: duckdb.DuckDBPyConnection, sql: str, **relations: pa.Table | Dataset) -> pa.Table:
    """Run `sql` over Arrow tables and datasets by their names; instants in the answer are UTC, as Spark expects."""
    for name, table in relations.items():
        connection.register(name, table)
    with interrupted_when_due(connection):
        answer = connection.execute(sql).to_arrow_table()
    instants = pa.timestamp("us", tz="UTC")
    fields = [f.with_type(instants) if pa.types.is_timestamp(f.type) else f for f in answer.schema]
    return answer.cast(pa.schema(fields))
