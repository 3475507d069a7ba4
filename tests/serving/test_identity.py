"""The Lambda identity on the real files: stream, recomputation and merged views give everybody the same brands."""

import random
from collections.abc import Callable
from functools import reduce
from pathlib import Path

import pytest
from helpers import (
    REAL_DATA,
    Lists,
    NewSettings,
    event_file,
    expected_lists,
    lists_of,
    read_events,
    stored_lists,
    write_events,
)
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import pipelines
from lambda_spark.batch.user_brands import brand_lists, merge_brand_lists
from lambda_spark.delta import commits, event_log
from lambda_spark.delta.file_tasks import EventSlice
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, USER_BRANDS
from lambda_spark.replay.replay import replay
from lambda_spark.serving import histories
from lambda_spark.serving.snapshot import open_snapshot
from lambda_spark.settings import BrandSettings

LIMIT = 50
BRANDS = BrandSettings(event_types=(), limit=LIMIT)
UNSORTED = "rees46-electronics-unsorted-raw.csv"
FILES = (
    "rees46-electronics-26days.csv",
    UNSORTED,
    "rees46-cosmetics-5months.csv",
    "tmall-61users-6months.csv.gz",
    "rees46-multi-2019-10-01.csv",
)

Rows = list[dict[str, str]]


def as_they_are(rows: Rows) -> Rows:
    return rows


def shuffled_doubled_and_late(rows: Rows) -> Rows:
    """Shuffle, send a tenth twice, and delay another tenth to the end."""
    rng, tenth = random.Random(7), len(rows) // 10
    mixed = rng.sample(rows, len(rows))
    prompt = mixed[:tenth] + mixed[:tenth] + mixed[2 * tenth :]
    return rng.sample(prompt, len(prompt)) + mixed[tenth : 2 * tenth]


ORDERS = (as_they_are, shuffled_doubled_and_late)


def real_rows(name: str, order: Callable[[Rows], Rows]) -> Rows:
    """Return the rows of a real file in an order, with users of their own, so that each is judged alone."""
    shift = 4 * 10**18 * ORDERS.index(order) + 10**15 * (name == UNSORTED)
    rows = order(read_events(REAL_DATA / name))
    return [row | {"user_id": str(int(row["user_id"]) + shift)} for row in rows]


@pytest.fixture(scope="module")
def lists(spark: SparkSession, new_run: NewSettings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Lists]:
    """Take the real files in all orders through both layers; return everybody's brands by each way to get them.

    The stream reads everything in three batches, before there is a user_brands that it would leave to have what it
    covers; that is first computed when half of each file is in the master dataset.
    """
    streams = [real_rows(name, order) for name in FILES if (REAL_DATA / name).exists() for order in ORDERS]
    if not streams:
        pytest.skip("the real files of ../shared/data are not here: they are never part of the repository")
    folder = tmp_path_factory.mktemp("events")
    early = write_events(folder / "early.csv", [row for rows in streams for row in rows[: len(rows) // 2]])
    late = write_events(folder / "late.csv", [row for rows in streams for row in rows[len(rows) // 2 :]])
    # A file is written per day, partition and batch, and these files have hundreds of days.
    settings = new_run(partitions=2, speed={"max_messages_per_trigger": 30_000})
    root = settings.data_root

    replay(settings.kafka, [early])
    pipelines.ingest_topic(spark, settings, available_now=True)
    replay(settings.kafka, [late])
    assert pipelines.speed_stream(spark, settings, available_now=True) == sum(map(len, streams))
    pipelines.batch_brands(spark, settings)
    first_half = stored_lists(root, USER_BRANDS)
    pipelines.ingest_topic(spark, settings, available_now=True)
    log, events = commits.read(spark, root, RECENT_BRANDS), commits.read(spark, root, EVENTS)
    merged = histories.merged_views(spark, root, LIMIT, open_snapshot(root))
    found = lists_by_way(
        {
            "stream, its rows merged": merge_brand_lists([log], LIMIT),
            "recomputed from events": brand_lists(spark, [EventSlice(event_log.event_files(root))], BRANDS),
            "user_brands of the first half, and the stream": merged,
            "events up to some offset, and from there on": merged_parts(folder, events, "source_offset < 9000"),
            "events of a partition, and of the other": merged_parts(folder, events, "source_partition = 0"),
        }
    )
    found["stream, latest rows"] = stored_lists(root, RECENT_BRANDS)
    pipelines.batch_brands(spark, settings)
    found["user_brands, kept up to date"] = stored_lists(root, USER_BRANDS)
    assert first_half != found["user_brands, kept up to date"]
    return found


def lists_by_way(ways: dict[str, DataFrame]) -> dict[str, Lists]:
    """Collect them all in one job."""
    rows = [brands.select("*", F.lit(way).alias("way")) for way, brands in ways.items()]
    together = reduce(DataFrame.unionByName, rows).cache()
    return {way: lists_of(together.where(F.col("way") == way)) for way in ways}


def merged_parts(folder: Path, events: DataFrame, condition: str) -> DataFrame:
    """Merge the lists of events that meet a condition with the lists of those that do not."""
    parts = events.where(condition), events.where(f"NOT ({condition})")
    files = [event_file(folder / f"{condition} {number}.parquet", part) for number, part in enumerate(parts)]
    return merge_brand_lists([brand_lists(events.sparkSession, [EventSlice([file])], BRANDS) for file in files], LIMIT)


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", FILES)
def test_every_way_gives_every_user_of_the_file_the_same_brands(
    name: str, order: Callable[[Rows], Rows], real_file: Callable[[str], Path], request: pytest.FixtureRequest
) -> None:
    real_file(name)
    lists = request.getfixturevalue("lists")
    wanted = expected_lists(real_rows(name, order), LIMIT)
    assert wanted
    for way, found in lists.items():
        assert {user_id: found.get(user_id) for user_id in wanted} == wanted, way


@pytest.mark.slow
def test_nobody_else_has_brands(lists: dict[str, Lists]) -> None:
    names = [name for name in FILES if (REAL_DATA / name).exists()]
    users = {int(row["user_id"]) for name in names for order in ORDERS for row in real_rows(name, order)}
    assert all(found.keys() <= users for found in lists.values())


def test_real_users_know_more_brands_than_are_kept(real_file: Callable[[str], Path]) -> None:
    rows = read_events(real_file("tmall-61users-6months.csv.gz"))
    assert sum(len(brands) > LIMIT for brands in expected_lists(rows, limit=1_000).values()) == 17
