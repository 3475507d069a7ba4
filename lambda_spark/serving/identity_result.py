"""The last result of the Lambda identity's check: a JSON file beside the tables, for whatever shows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from lambda_spark.serving.verification import Difference

IDENTITY_FILE = "identity.json"


class ComparedPart(BaseModel):
    """What was compared, its number of rows, and how many rows were found that only one way has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    rows: int
    differences: int


class IdentityResult(BaseModel):
    """When the identity was checked, and its parts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checked_at: datetime
    parts: list[ComparedPart]


def write_identity_result(local_root: Path, found: Sequence[Difference]) -> None:
    """Write the result of a check in place of the last one."""
    local_root.mkdir(parents=True, exist_ok=True)
    parts = [ComparedPart(what=each.what, rows=each.row_count, differences=sum(map(len, each.only))) for each in found]
    result = IdentityResult(checked_at=datetime.now(timezone.utc), parts=parts)
    (local_root / IDENTITY_FILE).write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_identity_result(local_root: Path) -> dict[str, Any] | None:
    """Return the last result; None if there is none that can be read."""
    try:
        result = IdentityResult.model_validate_json((local_root / IDENTITY_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    agrees = not any(part.differences for part in result.parts)
    return {**result.model_dump(), "agrees": agrees}
