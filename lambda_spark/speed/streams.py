"""Running a streaming query: to the end of what is there, or until Ctrl-C or SIGTERM, always ending cleanly."""

import json
from collections.abc import Callable
from threading import Event
from typing import Any, ClassVar

from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from lambda_spark.delta.storage import read_file
from lambda_spark.errors import stop_requested
from lambda_spark.schemas import Offsets
from lambda_spark.speed.checkpoints import received_count

# Somebody who looks at each micro-batch: the rows it made, its number, and the offsets it ran from and to.
BatchListener = Callable[[DataFrame, int, Offsets, Offsets], None]
_POLL_SECONDS = 0.2
_PATIENCE = 50


def run_stream(writer: DataStreamWriter, checkpoint: str, trigger: str | None, on_poll: Callable[[], None]) -> int:
    """Run the query until it is stopped, or, without a trigger, over what is there now; `on_poll` is called meanwhile.

    Returns the number of messages that this run has taken in. Raises KeyboardInterrupt where it was to read all that is
    there and was stopped before.
    """
    before = received_count(checkpoint)
    pace = writer.trigger(processingTime=trigger) if trigger else writer.trigger(availableNow=True)
    with stop_requested() as stop:
        _stop_on_signals_to_jvm(writer._spark, stop)
        query = pace.option("checkpointLocation", checkpoint).start()
        while not query.awaitTermination(_POLL_SECONDS):  # type: ignore[arg-type]
            on_poll()
            if stop.is_set():
                _stop_between_batches(query)
    if stop.is_set() and trigger is None:
        raise KeyboardInterrupt("Stopped before the end of the topic. The same command goes on from here.")
    return received_count(checkpoint) - before


class _SignalHandler:
    """Tells Python of a signal that the JVM got, in the shape that Java asks for."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop

    def handle(self, signal: object) -> None:
        self._stop.set()

    class Java:
        implements: ClassVar = ["sun.misc.SignalHandler"]


def _stop_on_signals_to_jvm(spark: SparkSession, stop: Event) -> None:
    """Under spark-submit the JVM is the parent: what would end it there and then asks the query to stop instead."""
    gateway: Any = spark.sparkContext._gateway
    ensure_callback_server_started(gateway)  # type: ignore[no-untyped-call]
    for name in ("INT", "TERM"):
        gateway.jvm.sun.misc.Signal.handle(gateway.jvm.sun.misc.Signal(name), _SignalHandler(stop))


def query_id(checkpoint: str) -> str:
    """Return the id that a query keeps as long as its checkpoint: Delta records its batches under it."""
    return str(json.loads(read_file(f"{checkpoint}/metadata") or b"")["id"])


def _stop_between_batches(query: StreamingQuery) -> None:
    """Stop while nothing is being written, if such a moment comes soon; stopping inside a batch loses only its work."""
    for _ in range(_PATIENCE):
        if not query.status["isTriggerActive"]:
            break
        query.awaitTermination(_POLL_SECONDS)  # type: ignore[arg-type]
    query.stop()
