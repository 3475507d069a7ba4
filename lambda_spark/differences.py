"""Two ways to the same rows, compared: whether they agree, and the first rows on which they do not."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pyspark.sql import DataFrame
from rich.console import Console
from rich.text import Text

from lambda_spark.terminal import left, print_table, sample

_SHOWN = 20


class Difference(NamedTuple):
    """What was compared, by which two ways, how many rows the first gave, and rows that only one of them gave."""

    what: str
    ways: tuple[str, str]
    row_count: int
    only: tuple[list[dict[str, Any]], list[dict[str, Any]]]

    @property
    def is_none(self) -> bool:
        """Say whether both gave the same rows."""
        return not any(self.only)


def compare(what: str, ways: tuple[str, str], one: DataFrame, other: DataFrame, keys: Sequence[str]) -> Difference:
    """Compare the rows of both, of the same columns, as multisets; rows are shown in the order of the keys."""
    one, other = one.cache(), other.cache()
    try:
        only = tuple(_first(*pair, keys) for pair in ((one, other), (other, one)))
        return Difference(what, ways, one.count(), (only[0], only[1]))
    finally:
        for rows in (one, other):
            rows.unpersist()


def print_difference(console: Console, difference: Difference) -> None:
    """Print whether both ways agree, and where not, rows that only one of them gave."""
    compared = f"{difference.what}: {difference.row_count:,} rows"
    if difference.is_none:
        console.print(Text.assemble(("✓ ", "bold green"), f"{compared} are equal."))
        return
    console.print(Text.assemble(("✗ ", "bold red"), f"{compared}, not all equal."))
    for way, rows in zip(difference.ways, difference.only, strict=True):
        names = list(rows[0]) if rows else []
        columns = [left(name, [sample(row[name]) for row in rows], is_flexible=True) for name in names]
        print_table(console, f"Only {way}" if rows else f"Only {way}: no rows", columns)


def _first(one: DataFrame, other: DataFrame, keys: Sequence[str]) -> list[dict[str, Any]]:
    return [row.asDict() for row in one.exceptAll(other).orderBy(*keys).limit(_SHOWN).collect()]
