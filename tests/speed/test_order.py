"""Neither the order of messages, nor repetition, nor the partition they come by changes brands or trends."""

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from deltalake import DeltaTable
from helpers import NewSettings, expected_lists, micros, send, shop_days, stored_lists
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY, RECENT_BRANDS, TRENDS, USER_BRANDS, Table, path_of
from lambda_spark.settings import Settings

pytestmark = [pytest.mark.fault("messages shuffled, late, twice, and by another partition"), pytest.mark.slow]

LIMIT = 4
EVENTS_SENT = shop_days(range(1, 11))
THREE_DAYS = 3 * 24 * 3600 * 1_000_000
COUNTS = ("view_count", "cart_count", "remove_count", "purchase_count", "event_count")

Rows = list[dict[str, str]]
NewShop = Callable[..., Settings]


@pytest.fixture(scope="module")
def new_shop(spark: SparkSession, new_run: NewSettings) -> NewShop:
    """Return what lets both layers read messages in two parts, before the second of which the topic may grow."""

    def run(messages: Rows, partitions_later: int = 2) -> Settings:
        settings = new_run(partitions=2, brands={"limit": LIMIT})
        half = len(messages) // 2
        read(settings, messages[:half])
        if partitions_later > 2:
            admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
            admin.create_partitions({settings.kafka.topic: NewPartitions(partitions_later)})
            admin.close()
        read(settings, messages[half:])
        pipelines.batch_trends(spark, settings)
        pipelines.batch_brands(spark, settings)
        return settings

    def read(settings: Settings, messages: Rows) -> None:
        send(settings.kafka, messages)
        assert pipelines.ingest_topic(spark, settings, available_now=True).stored == len(messages)
        assert pipelines.speed_stream(spark, settings, available_now=True) == len(messages)

    return run


@pytest.fixture(scope="module")
def in_order(new_shop: NewShop) -> Settings:
    return new_shop(EVENTS_SENT)


def test_late_messages_and_users_who_change_their_partition_change_nothing(
    new_shop: NewShop, in_order: Settings
) -> None:
    late = new_shop(a_tenth_late(EVENTS_SENT), partitions_later=4)
    by_user: dict[int, set[int]] = {}
    for row in rows_of(late, EVENTS):
        by_user.setdefault(row["user_id"], set()).add(row["source_partition"])
    assert max(map(len, by_user.values())) > 1
    assert_same_brands(late, in_order)
    for view in (PRODUCT_ACTIVITY, TRENDS):
        assert rows_of(late, view) == rows_of(in_order, view)


def test_all_messages_twice_and_shuffled_double_the_counts_of_events_and_nothing_else(
    new_shop: NewShop, in_order: Settings
) -> None:
    twice = new_shop(random.Random(7).sample(EVENTS_SENT * 2, 2 * len(EVENTS_SENT)))
    assert_same_brands(twice, in_order)
    assert rows_of(twice, PRODUCT_ACTIVITY) == doubled(rows_of(in_order, PRODUCT_ACTIVITY), COUNTS)
    expected = doubled(rows_of(in_order, TRENDS), ("event_count",))
    assert rows_of(twice, TRENDS) == [row | {"buckets": doubled(row["buckets"], ("event_count",))} for row in expected]


def assert_same_brands(settings: Settings, other: Settings) -> None:
    expected = expected_lists(EVENTS_SENT, LIMIT)
    for view in (RECENT_BRANDS, USER_BRANDS):
        assert stored_lists(settings.data_root, view) == stored_lists(other.data_root, view) == expected


def rows_of(settings: Settings, table: Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = DeltaTable(path_of(settings.data_root, table)).to_pyarrow_table().to_pylist()
    return sorted(rows, key=str)


def doubled(rows: Iterable[Mapping[str, Any]], counts: Iterable[str]) -> list[dict[str, Any]]:
    return [{**row, **{name: 2 * row[name] for name in counts}} for row in rows]


def a_tenth_late(rows: Rows) -> Rows:
    """Let a tenth arrive as if three days later than it happened, and the others when they happened."""
    arrivals = [(micros(row["event_time"]) + THREE_DAYS * (number % 10 == 0), row) for number, row in enumerate(rows)]
    return [row for _, row in sorted(arrivals, key=lambda arrival: arrival[0])]
