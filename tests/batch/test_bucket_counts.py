"""Counts of any range: the batch view's, with the days that the master dataset has more of counted again."""

import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from helpers import NewSettings, event, send, shop_days, write_events
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.batch.bucket_counts import bucket_counts, count_here, events_only, open_counts, spark_counter
from lambda_spark.batch.tasks import Span
from lambda_spark.delta import tables
from lambda_spark.schemas import BUCKET_ACTIVITY
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import DAY, TimeRange

COLUMNS = [column.split()[0] for column in BUCKET_ACTIVITY.split(",")][1:]
MARCH = TimeRange(datetime(2020, 3, 1, tzinfo=timezone.utc), datetime(2020, 4, 1, tzinfo=timezone.utc))
# Small micro-batches, so that the view ends anywhere between them.
SECTIONS = {"ingest": {"max_messages_per_trigger": 29}}


def random_events(rng: random.Random, count: int) -> list[dict[str, str]]:
    """Return events of four days, ten products and eight users, with several brands and prices each; some are late."""
    return [
        event(
            f"2020-03-0{rng.randint(1, 4)} {rng.randint(0, 23):02}:00:{rng.randint(0, 59):02}",
            user_id=rng.randint(1, 8),
            product_id=rng.randint(1, 10),
            event_type=rng.choice(["view", "view", "cart", "purchase", "collect"]),
            brand=rng.choice(["alma", "Alma ", "brio", ""]),
            category_code=rng.choice(["a.b", "c.d", "", "unknown"]),
            price=rng.choice([1.5, 2.5, ""]),
        )
        for _ in range(count)
    ]


def counted(spark: SparkSession, settings: Settings) -> Counter[str]:
    """Return the rows of March as the view and the master dataset give them together, as a multiset."""
    rows = bucket_counts(spark_counter(spark), settings.data_root, open_counts(settings.data_root), MARCH, DAY, COLUMNS)
    return Counter(map(str, rows.to_pylist()))


def recomputed(spark: SparkSession, settings: Settings, events: list[dict[str, str]], folder: Path) -> Counter[str]:
    """Return the rows that are counted from the events alone, without any view."""
    folder.mkdir()
    other = settings.model_copy(update={"data_root": str(folder / "batch")})
    pipelines.ingest_files(spark, other, [write_events(folder / "all.csv", events)])
    return counted(spark, other)


@pytest.mark.parametrize("seed", range(2))
def test_a_view_of_any_age_with_changed_days_counted_again_is_the_count_of_all_events(
    spark: SparkSession, new_run: NewSettings, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    settings = new_run(partitions=2, **SECTIONS)
    events: list[dict[str, str]] = []
    for _ in range(4):
        new = random_events(rng, rng.randint(20, 80))
        send(settings.kafka, [*new, b"not an event"])
        events += new
        pipelines.ingest_topic(spark, settings, available_now=True)
        if rng.random() < 0.5:
            pipelines.batch_trends(spark, settings, TimeRange(MARCH.start, MARCH.start + 3 * DAY))
        assert counted(spark, settings) == recomputed(spark, settings, events, tmp_path / str(len(events)))


@pytest.fixture(scope="module")
def run(spark: SparkSession, new_run: NewSettings) -> Settings:
    """Return a shop whose batch view ends with the third day, and whose master dataset has the fourth."""
    settings = new_run(partitions=2, trends={"min_events": 1, "smoothing": 1.0}, **SECTIONS)
    send(settings.kafka, shop_days(range(1, 4)))
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)
    send(settings.kafka, shop_days([4]))
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.speed_stream(spark, settings, available_now=True)
    return settings


def test_only_days_that_changed_are_counted_again(run: Settings) -> None:
    spans: list[Span] = []

    def count(asked: Sequence[Span]) -> pa.Table:
        spans.extend(asked)
        return count_here(asked)

    rows = bucket_counts(count, run.data_root, open_counts(run.data_root), MARCH, DAY, COLUMNS)
    assert [span.range.start.day for span in spans] == [4]
    version = tables.version_of(run.data_root, tables.EVENTS)
    alone = bucket_counts(count_here, run.data_root, events_only(run.data_root, version), MARCH, DAY, COLUMNS)
    assert Counter(map(str, rows.to_pylist())) == Counter(map(str, alone.to_pylist()))


def test_an_answer_that_reaches_into_today_counts_what_is_ingested(spark: SparkSession, run: Settings) -> None:
    answer = pipelines.recommend(spark, run, TimeRange(MARCH.start, MARCH.start + 4 * DAY))
    assert answer.upto.batch_upto == answer.upto.seen_upto == datetime(2020, 3, 4, 23, 30, tzinfo=timezone.utc)
    rows = DeltaTable(f"{run.data_root}/recommendations").to_pyarrow_table().to_pylist()
    # Product 1 has 3, 6, 9 and 12 events on these days.
    assert {row["total_pct_increase"] for row in rows if row["product_id"] == 1} == {300.0}
