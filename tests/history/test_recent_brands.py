"""The batch layer's half of the recent brands: Spark's lists keep to the merge rule of the speed layer."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from uuid import uuid4

import pyarrow as pa
import pytest
from helpers import event_file
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark.batch.user_brands import brand_lists, merge_brand_lists, merge_into
from lambda_spark.delta.file_tasks import EventSlice
from lambda_spark.history.merging import SIGHTINGS, merge
from lambda_spark.schemas import USER_BRANDS
from lambda_spark.settings import BrandSettings

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
NAMES = [*(f"brand {n}" for n in range(75)), "tab\there", 'a "quote"', "\u2028", "😀", "ёлочка", "z", "\uffff"]

# user_id, brand, seconds since 1970, event type
Seen = tuple[int, str | None, float, str]
# user_id -> (brand, seconds since 1970), newest first
Lists = dict[int, list[tuple[str, float]]]


@pytest.fixture(scope="module")
def seen() -> list[Seen]:
    """30 users with 1 to 150 events each; times repeat, and some are before 1970 or within a second."""
    random = Random(7)
    events = [
        (user_id, random.choice(NAMES), random.choice([-5.5, 0.25, *range(40)]), random.choice(["view", "cart"]))
        for user_id in [-1, 2**63 - 1, *range(28)]
        for _ in range(random.choice([1, 20, 150]))
    ]
    random.shuffle(events)
    return events


ListsFrom = Callable[..., DataFrame]


@pytest.fixture
def lists_from(spark: SparkSession, tmp_path: Path) -> ListsFrom:
    """Return what stores events and computes lists from them."""

    def lists(seen: list[Seen], limit: int = 50, event_types: Sequence[str] = ()) -> DataFrame:
        rows = [(user_id, brand, EPOCH + timedelta(seconds=at), kind) for user_id, brand, at, kind in seen]
        columns = "user_id bigint, brand string, event_time timestamp, event_type string"
        frame = spark.createDataFrame(rows, columns)
        events = [EventSlice([event_file(tmp_path / str(uuid4()), frame)])]
        return brand_lists(spark, events, BrandSettings(event_types=tuple(event_types), limit=limit))

    return lists


def expected(seen: list[Seen], limit: int) -> Lists:
    """Return the lists as the speed layer's merge has them."""
    rows = [(user_id, brand, round(at * 1_000_000), 0, 0) for user_id, brand, at, _ in seen if brand]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SIGHTINGS, strict=True)]
    lists: Lists = {}
    for row in merge(pa.Table.from_arrays(arrays, schema=SIGHTINGS), limit).to_pylist():
        lists.setdefault(row["user_id"], []).append((row["brand"], row["seen_at"] / 1e6))
    return lists


def collect(lists: DataFrame) -> Lists:
    items = F.transform("brands", lambda item: F.struct(item["brand"], F.unix_micros(item["last_seen_at"]) / 1e6))
    rows = lists.select("user_id", items.alias("brands")).collect()
    collected = {row.user_id: [(brand, seen) for brand, seen in row.brands] for row in rows}
    assert len(collected) == len(rows)
    return collected


def test_lists_from_events_and_merged_at_any_boundary_keep_to_the_rule(lists_from: ListsFrom, seen: list[Seen]) -> None:
    # All boundaries in one job: for each the users have a name of their own.
    boundaries = enumerate([0, 1, len(seen) // 3, len(seen) - 1, len(seen)])
    shifted = [(boundary, [(user % 10**4 + n * 10**4, *event) for user, *event in seen]) for n, boundary in boundaries]
    # Duplicates, and what both layers know: an overlap is harmless.
    first = [event for boundary, events in shifted for event in events[:boundary] * 2]
    rest = [event for boundary, events in shifted for event in events[max(boundary - 20, 0) :]]
    rule = expected([event for _, events in shifted for event in events], 50)
    assert max(map(len, rule.values())) == 50
    batch, speed = (lists_from(events).cache() for events in (first, rest))
    assert collect(merge_brand_lists([batch, speed, batch], 50)) == rule
    assert collect(merge_into(batch, speed, 50)) == rule
    # The whole is the rest of boundary 0.
    assert {user: brands for user, brands in collect(speed).items() if user < 10**4} == expected(shifted[0][1], 50)


def test_only_the_event_types_asked_for_and_the_limit(lists_from: ListsFrom, seen: list[Seen]) -> None:
    carts = [event for event in seen if event[3] == "cart"]
    assert collect(lists_from(seen, 3, ["cart", "wish"])) == expected(carts, 3)


def test_brands_are_compared_normalised_and_users_without_one_have_no_row(lists_from: ListsFrom) -> None:
    seen: list[Seen] = [
        (1, "Apple ", 1, "view"),
        (1, "apple", 2, "view"),
        (1, "Unknown", 9, "view"),
        (2, None, 3, "view"),
        (2, " ", 4, "view"),
    ]
    lists = lists_from(seen)
    assert collect(lists) == {1: [("apple", 2)]}


def test_the_contract_and_what_comes_of_nothing(spark: SparkSession) -> None:
    nothing = brand_lists(spark, [], BrandSettings(event_types=(), limit=50))
    contract = spark.createDataFrame([], USER_BRANDS)
    assert [(f.name, f.dataType.simpleString()) for f in nothing.schema] == [
        (f.name, f.dataType.simpleString()) for f in contract.schema
    ]
    assert merge_brand_lists([nothing, contract], 50).isEmpty()
