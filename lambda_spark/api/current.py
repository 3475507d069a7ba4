"""What is made of tables, and made anew only once one of them has another version: a look at a file's name or two."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from lambda_spark import tables
from lambda_spark.tables import Table

Made = TypeVar("Made")


class Current(Generic[Made]):
    """Something made of tables, as they are now; `make` takes their versions, None where there is no such table."""

    def __init__(self, root: str, read: Sequence[Table], make: Callable[..., Made]) -> None:
        self._root, self._read, self._make = root, read, make
        self._found: tuple[list[int | None], Made] | None = None

    def get(self) -> Made:
        """Return it."""
        last = self._found[0] if self._found else [None] * len(self._read)
        versions = [newest_version(self._root, *each) for each in zip(self._read, last, strict=True)]
        if self._found is None or self._found[0] != versions:
            self._found = versions, self._make(*versions)
        return self._found[1]


def newest_version(root: str, table: Table, last: int | None) -> int | None:
    """Return the table's present version, from a last one on; None where there is no table."""
    if last is None or not tables.has_version(root, table, last):
        return tables.find_version(root, table)
    while tables.has_version(root, table, last + 1):
        last += 1
    return last
