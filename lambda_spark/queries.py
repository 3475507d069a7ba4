"""A few rows of a table, asked for in SQL without Spark, whose first query of a process takes seconds."""

from collections import namedtuple
from functools import cache
from typing import Any

import deltalake
import pyarrow as pa

from lambda_spark import tables
from lambda_spark.tables import Table
from lambda_spark.words import Row


def query(root: str, table: Table, sql: str) -> list[Row]:
    """Ask the table, by its own name, for a few rows. Raises NotComputedError where the table has not been made."""
    tables.require(root, table)
    asked = deltalake.QueryBuilder().register(table.name, deltalake.DeltaTable(tables.path_of(root, table)))
    return [_as_row(row) for row in pa.table(asked.execute(sql)).to_pylist()]


def _as_row(value: Any) -> Any:
    """Return the value with every dictionary in it as a row, whose columns are attributes."""
    if isinstance(value, dict):
        return _row_type(tuple(value))(*map(_as_row, value.values()))
    return [_as_row(each) for each in value] if isinstance(value, list) else value


@cache
def _row_type(columns: tuple[str, ...]) -> Any:
    return namedtuple("Row", columns)
