"""Running a streaming query: to the end of what is there, or until Ctrl-C or SIGTERM, always ending cleanly."""

import json
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from lambda_spark.checkpoints import Offsets, count_between, first_offsets, reached_offsets
from lambda_spark.stopping import stop_requested

# Somebody who looks at each micro-batch: the rows it made, its number, and the offsets it ran from and to.
Watch = Callable[[DataFrame, int, Offsets, Offsets], None]

_POLL_SECONDS = 0.2
_PATIENCE = 50


def run_stream(writer: DataStreamWriter, checkpoint: Path, trigger: str | None) -> int:
    """Run the query until it is stopped, or, without a trigger, over what is there now.

    Returns the number of messages that this run has taken in.
    """
    before = reached_offsets(checkpoint)
    pace = writer.trigger(processingTime=trigger) if trigger else writer.trigger(availableNow=True)
    with stop_requested() as stop:
        query = pace.option("checkpointLocation", str(checkpoint)).start()
        while not query.awaitTermination(_POLL_SECONDS):  # type: ignore[arg-type]
            if stop.is_set():
                _stop_between_batches(query)
    return count_between(before or first_offsets(checkpoint), reached_offsets(checkpoint))


def query_id(checkpoint: Path) -> str:
    """Return the id that a query keeps for as long as its checkpoint: under it Delta knows which batches it has."""
    return str(json.loads((checkpoint / "metadata").read_text())["id"])


def _stop_between_batches(query: StreamingQuery) -> None:
    """Stop while nothing is being written, if such a moment comes soon; stopping inside a batch loses only its work."""
    for _ in range(_PATIENCE):
        if not query.status["isTriggerActive"]:
            break
        query.awaitTermination(_POLL_SECONDS)  # type: ignore[arg-type]
    query.stop()
