"""How far an answer reaches, which every answer tells."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from lambda_spark.api.keeper import Keeper
from lambda_spark.api.known import Known


def reach(app: FastAPI, notes: Sequence[str], counted: Known | None = None) -> dict[str, Any]:
    """Return the fields of models.Reach; of an answer that was counted, as far as was known then."""
    keeper: Keeper = app.state.keeper
    known = counted or keeper.known
    return {
        "batch_upto": known.upto.batch_upto if known else None,
        "speed_upto": counted.upto.seen_upto if counted else keeper.seen_upto(),
        "lag_s": app.state.topic.lag_seconds(keeper.reached()),
        "notes": list(notes),
    }
