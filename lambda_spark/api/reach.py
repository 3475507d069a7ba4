"""How far an answer reaches, which every answer tells."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from lambda_spark.api.keeper import Keeper


def reach(app: FastAPI, notes: Sequence[str]) -> dict[str, Any]:
    """Return the fields of models.Reach."""
    keeper: Keeper = app.state.keeper
    return {
        "batch_upto": keeper.known.upto.batch_upto if keeper.known else None,
        "speed_upto": keeper.seen_upto(),
        "lag_s": app.state.topic.lag_seconds(keeper.reached()),
        "notes": list(notes),
    }
