"""Recommendations for other programs: JSON and CSV, one recommendation a line, times in ISO 8601 UTC."""

import csv
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TextIO

from lambda_spark.schemas import RECOMMENDATION_COLUMNS
from lambda_spark.words import Row, iso


def write_json(rows: Iterable[Row], told: Mapping[str, object], stream: TextIO) -> None:
    """Write one JSON array of objects, each on a line of its own; an unknown value is null.

    `told` is what each of them says beside its columns.
    """
    lines = (json.dumps(_values(row, told), ensure_ascii=False) for row in rows)
    stream.write("[\n" + ",\n".join(lines) + "\n]\n")


def write_csv(rows: Iterable[Row], told: Mapping[str, object], stream: TextIO) -> None:
    """Write CSV with a header; an unknown value is an empty field, a truth value `true` or `false`."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*RECOMMENDATION_COLUMNS, *told])
    for row in rows:
        values = _values(row, told).values()
        writer.writerow(str(value).lower() if isinstance(value, bool) else value for value in values)


def _values(row: Row, told: Mapping[str, object]) -> dict[str, object]:
    values = {**{name: getattr(row, name) for name in RECOMMENDATION_COLUMNS}, **told}
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in values.items()}
