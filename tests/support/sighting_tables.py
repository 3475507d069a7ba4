"""Sightings of brands as Arrow tables, from and to plain Python values."""

from collections.abc import Mapping
from itertools import groupby

import pyarrow as pa

from lambda_spark.history.merging import SIGHTINGS

NASTY = ["tab\there", "line\nbreak", 'a "quote"', "back\\slash", "\u2028\u2029\x85", "😀", "{}", "null", "\x00", " "]

Lists = dict[int, list[tuple[str, int]]]
Seen = tuple[int, str, int, int, int]


def sightings(rows: list[Seen]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SIGHTINGS.names, row, strict=True)) for row in rows], SIGHTINGS)


def table_of(users: Mapping[int, Mapping[str, int]], offset: int = 0) -> pa.Table:
    """Return what a message at that offset of partition 0 told of each user's brands."""
    return sightings([(user, brand, at, 0, offset) for user, brands in users.items() for brand, at in brands.items()])


def lists_of(table: pa.Table) -> Lists:
    """Return the (brand, seen_at) of each user, in the order of the table."""
    keyed = [(row["user_id"], (row["brand"], row["seen_at"])) for row in table.to_pylist()]
    return {user: [brand for _, brand in brands] for user, brands in groupby(keyed, key=lambda pair: pair[0])}
