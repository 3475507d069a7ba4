"""DuckDB and NumPy over Arrow tables inside one process: what every package computes with, on executors too.

DuckDB has one connection per process. A query gives up when the time limit around it is over.
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

_INTERRUPT_AGAIN_SECONDS = 0.05

_BLANKS = " \t\n\r\f\v\u00a0\u3000"
# Engines lower some letters differently (a final sigma, a dotted capital I), and some of them by the language of the
# machine (I in Turkish, others in Lithuanian). Mapped first, a brand is the same text in every engine.
_LOWERED_FIRST = {"İ": "i", "Σ": "σ", "I": "i", "J": "j", "Ì": "ì", "Í": "í", "Ĩ": "ĩ", "Į": "į"}
_NOT_A_BRAND = "unknown"

# The instant at which the work must be done, by time.monotonic, and the seconds it was given.
_deadline: ContextVar[tuple[float, float] | None] = ContextVar("deadline", default=None)


@cache
def connect() -> duckdb.DuckDBPyConnection:
    """Open this process's in-memory DuckDB: one thread, since Spark already runs a task per core.

    Kept for the next task: opening a connection takes as long as parsing some thousand messages.
    """
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def query(sql: str, **relations: pa.Table | Dataset) -> pa.Table:
    """Run SQL over Arrow tables and datasets by their names, on a cursor that other threads do not share."""
    return run_sql(connect().cursor(), sql, **relations)


def run_sql(connection: duckdb.DuckDBPyConnection, sql: str, **relations: pa.Table | Dataset) -> pa.Table:
    """Run SQL over Arrow tables and datasets by their names; instants in the result are UTC, as Spark expects.

    Raises TooSlowError if the time limit is over.
    """
    for name, table in relations.items():
        connection.register(name, table)
    with _interrupted_at_deadline(connection):
        result = connection.execute(sql).to_arrow_table()
    instants = pa.timestamp("us", tz="UTC")
    fields = [f.with_type(instants) if pa.types.is_timestamp(f.type) else f for f in result.schema]
    return result.cast(pa.schema(fields))


def sql_list(texts: Sequence[str]) -> str:
    """Return the texts as the items of a SQL list."""
    return ", ".join("'{}'".format(text.replace("'", "''")) for text in texts)


def brand_sql(brand: str) -> str:
    """Return SQL of the brand as it is compared: trimmed, in lower case; NULL if it is empty, blank or `Unknown`."""
    letters, lowered = "".join(_LOWERED_FIRST), "".join(_LOWERED_FIRST.values())
    trimmed = f"translate(trim({brand}, '{_BLANKS}'), '{letters}', '{lowered}')"
    return f"nullif(nullif(lower({trimmed}), ''), '{_NOT_A_BRAND}')"


def starts_group(*keys: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each row whether its keys differ from those of the row before: rows with equal keys are adjacent."""
    differs = np.ones(len(keys[0]), dtype=bool)
    differs[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    return differs


def group_positions(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return the position of each row in its group of adjacent rows with equal keys: 0, 1 and so on."""
    starts = np.flatnonzero(starts_group(*keys))
    count = len(keys[0])
    position: NDArray[np.int64] = np.arange(count) - np.repeat(starts, np.diff(starts, append=count))
    return position


@cache
def freeze_gc() -> None:
    """Keep everything loaded so far out of garbage collection, which Spark's workers run after each task.

    It takes 40 ms each time, and the next task waits for it: a small micro-batch has eight tasks.
    """
    gc.freeze()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limit the time of the work inside the block. Raises TooSlowError from a query that would take longer."""
    before = _deadline.set((time.monotonic() + seconds, seconds))
    try:
        yield
    finally:
        _deadline.reset(before)


def seconds_left() -> float:
    """Return the seconds left, -1 without a time limit, as locks take a timeout. Raises TooSlowError if none are."""
    deadline = _deadline.get()
    if deadline is None:
        return -1.0
    if (left := deadline[0] - time.monotonic()) <= 0:
        raise too_slow()
    return left


def too_slow() -> TooSlowError:
    """Return the error for work that exceeded its time limit."""
    deadline = _deadline.get()
    return TooSlowError(f"The answer took more than {deadline[1] if deadline else 0:g} s: ask for a shorter range.")


@contextmanager
def _interrupted_at_deadline(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
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
    """Interrupt until the query has ended: DuckDB ignores an interruption that comes just before a query begins."""
    pause = seconds
    while not done.wait(pause):
        connection.interrupt()
        pause = _INTERRUPT_AGAIN_SECONDS
