"""Live counts: the batch view up to any boundary and what the stream has after it are the batch view of all."""

import random
import shutil
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
from lambda_spark.batch.bucket_counts import bucket_counts, known_counts, with_bucket_at
from lambda_spark.batch.product_activity import counter, product_activity
from lambda_spark.delta import coverage, event_log, tables
from lambda_spark.delta.tables import LIVE_ACTIVITY, PRODUCT_ACTIVITY
from lambda_spark.schemas import BUCKET_ACTIVITY
from lambda_spark.serving.snapshot import open_live
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import DAY, TimeRange
from lambda_spark.trends.counting import Span, count_here

COLUMNS = [column.split()[0] for column in BUCKET_ACTIVITY.split(",")][1:]
MARCH = TimeRange(datetime(2020, 3, 1, tzinfo=timezone.utc), datetime(2020, 4, 1, tzinfo=timezone.utc))
# Small micro-batches, which end anywhere between those of ingest.
SECTIONS = {"speed": {"max_messages_per_trigger": 37}, "ingest": {"max_messages_per_trigger": 29}}


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


def counted(spark: SparkSession, settings: Settings, span: TimeRange = MARCH) -> Counter[str]:
    """Return the rows of a span that both layers together give, as a multiset."""
    root = settings.data_root
    known = known_counts(root, open_live(root))
    assert known.events.notes == ()
    return Counter(map(str, bucket_counts(counter(spark), root, known, span, DAY, COLUMNS).to_pylist()))


def recomputed(spark: SparkSession, settings: Settings, events: list[dict[str, str]], folder: Path) -> Counter[str]:
    """Return the rows that the batch layer alone computes of the events."""
    other = settings.model_copy(update={"data_root": str(folder / "batch")})
    pipelines.ingest_files(spark, other, [write_events(folder / "all.csv", events)])
    rows = with_bucket_at(product_activity(spark, event_log.event_files(other.data_root)).toArrow())
    return Counter(map(str, rows.select(["bucket_at", *COLUMNS]).to_pylist()))


@pytest.mark.parametrize("seed", range(2))
def test_batch_up_to_any_boundary_and_live_after_it_is_batch_of_all(
    spark: SparkSession, new_run: NewSettings, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    settings = new_run(partitions=2, **SECTIONS)
    events: list[dict[str, str]] = []
    # Each layer goes on when chance says so: the boundary lies anywhere, and either may be ahead of the other.
    jobs = [pipelines.ingest_topic, pipelines.speed_stream, None]
    for _ in range(4):
        new = random_events(rng, rng.randint(20, 80))
        send(settings.kafka, [*new, b"no event"])
        events += new
        for job in rng.sample(jobs, 3):
            if job is None and tables.exists(settings.data_root, tables.EVENTS):
                pipelines.batch_trends(spark, settings, TimeRange(MARCH.start, MARCH.start + 3 * DAY))
            elif job and (rng.random() < 0.7):
                job(spark, settings, available_now=True)
    pipelines.speed_stream(spark, settings, available_now=True)
    assert counted(spark, settings) == recomputed(spark, settings, events, tmp_path)


@pytest.fixture(scope="module")
def run(spark: SparkSession, new_run: NewSettings) -> Settings:
    """Return a shop whose batch view ends within the third day, and whose stream has the fourth."""
    settings = new_run(partitions=2, trends={"min_events": 1, "smoothing": 1.0}, **SECTIONS)
    send(settings.kafka, shop_days(range(1, 4)))
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.batch_trends(spark, settings)
    send(settings.kafka, shop_days([4]))
    pipelines.speed_stream(spark, settings, available_now=True)
    return settings


def test_the_live_view_holds_only_what_the_batch_view_does_not_count(run: Settings) -> None:
    root, topic = run.data_root, run.kafka.topic
    covered = coverage.covered_offsets(root, topic, run.brands)[LIVE_ACTIVITY.name]
    assert sum(covered.values()) == len(shop_days(range(1, 4)))
    rows = DeltaTable(tables.path_of(root, LIVE_ACTIVITY)).to_pyarrow_table().to_pylist()
    assert all(row["source_offset"] >= covered[row["source_partition"]] for row in rows)
    assert len(rows) == len(shop_days([4]))


def test_only_days_that_are_touched_are_counted_anew(run: Settings) -> None:
    spans = []

    def watch(asked: Sequence[Span]) -> pa.Table:
        spans.extend(asked)
        return count_here(asked)

    root = run.data_root
    bucket_counts(watch, root, known_counts(root, open_live(root)), MARCH, DAY, COLUMNS)
    assert [(span.range.start.day, span.is_touched_only) for span in spans] == [(4, True)]


def test_an_answer_that_reaches_into_today_counts_what_the_stream_has_seen(spark: SparkSession, run: Settings) -> None:
    asked = TimeRange(MARCH.start, MARCH.start + 4 * DAY)
    answer = pipelines.recommend(spark, run, asked)
    assert answer.upto.batch_upto == datetime(2020, 3, 3, 23, 30, tzinfo=timezone.utc)
    assert answer.upto.seen_upto == datetime(2020, 3, 4, 23, 30, tzinfo=timezone.utc)
    rows = DeltaTable(f"{run.data_root}/recommendations").to_pyarrow_table().to_pylist()
    # Product 1 has 3, 6, 9 and 12 events on these days.
    assert {row["total_pct_increase"] for row in rows if row["product_id"] == 1} == {300.0}


def test_a_stream_that_began_anew_counts_nothing_twice(
    spark: SparkSession, run: Settings, new_settings: NewSettings, tmp_path: Path
) -> None:
    settings = new_settings(kafka=run.kafka.model_dump(), **SECTIONS)
    for _ in range(2):
        pipelines.speed_stream(spark, settings, available_now=True)
        shutil.rmtree(f"{settings.data_root}/recent_brands")
    pipelines.speed_stream(spark, settings, available_now=True)
    assert counted(spark, settings) == recomputed(spark, settings, shop_days(range(1, 5)), tmp_path)


def test_a_live_view_that_is_lost_is_a_hole_until_ingest_has_gone_on(
    spark: SparkSession, run: Settings, tmp_path: Path
) -> None:
    settings = run.model_copy(update={"data_root": str(tmp_path / "data")})
    shutil.copytree(run.data_root, settings.data_root)
    root = settings.data_root
    shutil.rmtree(tables.path_of(root, LIVE_ACTIVITY))
    for _ in range(2):
        assert "in neither `events` nor live_activity" in known_counts(root, open_live(root)).events.notes[0]
        pipelines.speed_stream(spark, settings, available_now=True)
    pipelines.ingest_topic(spark, settings, available_now=True)
    assert counted(spark, settings) == recomputed(spark, settings, shop_days(range(1, 5)), tmp_path)


def test_a_hole_between_both_is_told(spark: SparkSession, run: Settings) -> None:
    root = run.data_root
    shutil.rmtree(tables.path_of(root, PRODUCT_ACTIVITY))
    shutil.rmtree(tables.path_of(root, tables.EVENTS))
    notes = known_counts(root, open_live(root)).events.notes
    assert "in neither `events` nor live_activity" in notes[0]
    assert notes[0] in pipelines.recommend(spark, run).request.notes
