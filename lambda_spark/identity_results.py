"""The last result of the Lambda identity's check, kept beside the tables for whoever shows it."""

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from lambda_spark.differences import Difference

FILE = "identity.json"


class Part(BaseModel):
    """What was compared, how many rows there were, and how many of those that only one way gave were found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    rows: int
    differences: int


class Result(BaseModel):
    """When the identity was checked, and what of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checked_at: datetime
    parts: list[Part]


def write_result(local_root: Path, found: Sequence["Difference"]) -> None:
    """Keep what was compared in the place of the last result."""
    local_root.mkdir(parents=True, exist_ok=True)
    parts = [Part(what=each.what, rows=each.row_count, differences=sum(map(len, each.only))) for each in found]
    result = Result(checked_at=datetime.now(timezone.utc), parts=parts)
    (local_root / FILE).write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_result(local_root: Path) -> dict[str, Any] | None:
    """Return the last result; None where there is none, or none that can be read."""
    try:
        result = Result.model_validate_json((local_root / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    agrees = not any(part.differences for part in result.parts)
    return {**result.model_dump(), "agrees": agrees}
