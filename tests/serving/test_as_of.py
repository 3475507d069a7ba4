"""Answers as of any moment: what was known then, the same again each time, and the present is one of these moments."""

import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import pytest
from deltalake import DeltaTable
from helpers import NewSettings, event, micros, send, shop_days, write_events
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta import tables
from lambda_spark.delta.tables import RECENT_BRANDS, RECOMMENDATIONS
from lambda_spark.errors import NotComputedError, TimeRangeError
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import TimeRange

SECTIONS = {"brands": {"limit": 3}, "trends": {"min_events": 1, "smoothing": 1.0}}
EVENTS = [
    *shop_days(range(1, 9)),
    event("2020-03-05 08:00:00", 1, 6, event_type="purchase"),
    event("2020-03-06 20:00:00", 2, 5, event_type="purchase"),
]


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2020, 3, day, hour, tzinfo=timezone.utc)


RANGE = TimeRange(at(3), at(7))


def rows_of(settings: Settings, asked: TimeRange) -> Counter[str]:
    rows = DeltaTable(tables.path_of(settings.data_root, RECOMMENDATIONS)).to_pyarrow_table().to_pylist()
    return Counter(str(row) for row in rows if (row["window_from"], row["window_to"]) == tuple(asked))


def shop_of(spark: SparkSession, new_settings: NewSettings, folder: Path, events: Sequence[dict[str, str]]) -> Settings:
    settings = new_settings(**SECTIONS)
    pipelines.ingest_files(spark, settings, [write_events(folder / "events.csv", events)])
    return settings


@pytest.fixture(scope="module")
def shop(spark: SparkSession, new_settings: NewSettings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = shop_of(spark, new_settings, tmp_path_factory.mktemp("files"), EVENTS)
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)
    return settings


@pytest.mark.parametrize("as_of", [at(5, 13), at(7), at(8, 12)])
def test_an_answer_as_of_a_moment_is_that_of_a_shop_which_knows_no_more(
    spark: SparkSession, shop: Settings, new_settings: NewSettings, tmp_path: Path, as_of: datetime
) -> None:
    known = [row for row in EVENTS if micros(row["event_time"]) < as_of.timestamp() * 1e6]
    then = shop_of(spark, new_settings, tmp_path, known)
    # It knows no more brands than these, nor purchases; only its question need not say so.
    pipelines.recommend(spark, then, RANGE, as_of=at(31))
    pipelines.recommend(spark, shop, RANGE, as_of=as_of)
    assert rows_of(shop, RANGE) == rows_of(then, RANGE)
    assert rows_of(shop, RANGE)


def test_the_same_question_gives_the_same_rows_and_another_moment_others(spark: SparkSession, shop: Settings) -> None:
    answers = []
    for as_of in (at(5, 13), at(7), at(5, 13)):
        answer = pipelines.recommend(spark, shop, RANGE, as_of=as_of)
        answers.append(rows_of(shop, RANGE))
    assert answers[0] == answers[2] != answers[1]
    assert answer.query.request.notes[0].startswith("Answered as of 2020-03-05T13:00:00")


def test_late_and_later_events_change_no_answer_as_of_a_moment_before_them(
    spark: SparkSession, new_settings: NewSettings, tmp_path: Path
) -> None:
    settings = shop_of(spark, new_settings, tmp_path, EVENTS)
    pipelines.recommend(spark, settings, RANGE, as_of=at(6))
    before = rows_of(settings, RANGE)
    more = [event("2020-03-06 01:00:00", user, 4, brand="late") for user in range(1, 6)]
    pipelines.ingest_files(spark, settings, [write_events(tmp_path / "more.csv", [*more, *shop_days([9])])])
    pipelines.recommend(spark, settings, RANGE, as_of=at(6))
    assert rows_of(settings, RANGE) == before


def test_without_a_range_the_last_complete_days_that_were_known_are_answered(
    spark: SparkSession, shop: Settings
) -> None:
    answer = pipelines.recommend(spark, shop, as_of=at(8, 12))
    assert answer.query.request.range == TimeRange(at(1), at(8))
    # The fourth's last hour has events of 23:30, which nobody knows at 23:00.
    assert pipelines.recommend(spark, shop, as_of=at(4, 23)).query.request.range == TimeRange(at(1), at(4))
    assert pipelines.recommend(spark, shop, as_of=at(5)).query.request.range == TimeRange(at(1), at(5))


def test_a_moment_before_all_events_is_an_error(spark: SparkSession, shop: Settings) -> None:
    with pytest.raises(TimeRangeError, match=r"No event is known from before 2020-02-01: ask for a later --as-of"):
        pipelines.recommend(spark, shop, as_of=datetime(2020, 2, 1, tzinfo=timezone.utc))


@pytest.fixture(scope="module")
def stream_ahead(spark: SparkSession, new_run: NewSettings) -> Settings:
    """Return a shop whose batch views end with the sixth day, its master dataset with the seventh, its stream later."""
    settings = new_run(partitions=2, **SECTIONS)
    send(settings.kafka, [row for row in EVENTS if row["event_time"] < "2020-03-07"])
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)
    send(settings.kafka, [row for row in EVENTS if "2020-03-07" <= row["event_time"] < "2020-03-08"])
    pipelines.ingest_topic(spark, settings, available_now=True)
    send(settings.kafka, [row for row in EVENTS if row["event_time"] >= "2020-03-08"])
    pipelines.speed_stream(spark, settings, available_now=True)
    return settings


def copy_of(settings: Settings, folder: Path) -> Settings:
    shutil.copytree(settings.data_root, folder / "data")
    return settings.model_copy(update={"data_root": str(folder / "data")})


@pytest.mark.parametrize("as_of", [None, at(8, 20), at(7, 10)])
def test_the_realtime_answer_is_the_one_from_events_alone(
    spark: SparkSession, stream_ahead: Settings, shop: Settings, tmp_path: Path, as_of: datetime | None
) -> None:
    both, asked = copy_of(stream_ahead, tmp_path), TimeRange(at(2), at(9))
    pipelines.ingest_topic(spark, both, available_now=True)
    for settings in (both, shop):
        answer = pipelines.recommend(spark, settings, asked, as_of=as_of)
        assert answer.upto.seen_upto == datetime(2020, 3, 8, 23, 30, tzinfo=timezone.utc)
    assert answer.query.is_from_views == (as_of is None)
    assert rows_of(both, asked) == rows_of(shop, asked)
    assert rows_of(shop, asked)


def test_a_stream_ahead_of_ingest_shows_its_brands_at_once_and_the_counts_once_they_are_stored(
    spark: SparkSession, stream_ahead: Settings, tmp_path: Path
) -> None:
    settings, asked = copy_of(stream_ahead, tmp_path), TimeRange(at(2), at(9))
    answer = pipelines.recommend(spark, settings, asked)
    assert answer.query.is_from_views
    assert answer.upto.batch_upto < answer.upto.seen_upto == datetime(2020, 3, 8, 23, 30, tzinfo=timezone.utc)
    seen = DeltaTable(tables.path_of(settings.data_root, RECOMMENDATIONS)).to_pyarrow_table()["brand_last_seen_at"]
    assert max(seen.to_pylist()) > answer.upto.batch_upto


def test_a_stored_answer_is_verified_from_events_alone(
    spark: SparkSession, stream_ahead: Settings, tmp_path: Path
) -> None:
    settings, asked = copy_of(stream_ahead, tmp_path), TimeRange(at(2), at(9))
    pipelines.recommend(spark, settings, asked)
    for named in ((), (2, 3)):
        with pytest.raises(NotComputedError, match=r"Ingest is behind the speed layer.*run jobs/ingest_events\.py"):
            pipelines.verify(spark, settings, asked, named)
    pipelines.ingest_topic(spark, settings, available_now=True)
    assert pipelines.verify(spark, settings, asked, (2, 3)).is_none
    for view in (RECENT_BRANDS, tables.USER_BRANDS, tables.PRODUCT_ACTIVITY, tables.TRENDS):
        shutil.rmtree(tables.path_of(settings.data_root, view), ignore_errors=True)
    difference = pipelines.verify(spark, settings, asked)
    assert difference.is_none
    assert difference.row_count == rows_of(settings, asked).total() > 0
    log = DeltaTable(tables.path_of(settings.data_root, RECOMMENDATIONS))
    log.update(predicate="user_id = 3 AND rank = 1", updates={"rank": "7"})
    difference = pipelines.verify(spark, settings, asked)
    assert not difference.is_none
    assert [[(row["user_id"], row["rank"]) for row in rows] for rows in difference.only] == [[(3, 7)], [(3, 1)]]


def test_an_answer_for_named_users_is_that_of_all_users_and_is_not_stored(spark: SparkSession, shop: Settings) -> None:
    pipelines.recommend(spark, shop, RANGE)
    stored, version = rows_of(shop, RANGE), tables.version_of(shop.data_root, RECOMMENDATIONS)
    answer = pipelines.recommend(spark, shop, RANGE, (3, 2))
    assert tables.version_of(shop.data_root, RECOMMENDATIONS) == version
    assert answer.rows
    assert {row.user_id for row in answer.rows} == {2, 3}
    assert {(row.user_id, row.rank, row.product_id) for row in answer.rows} == {
        (row["user_id"], row["rank"], row["product_id"])
        for row in DeltaTable(tables.path_of(shop.data_root, RECOMMENDATIONS)).to_pyarrow_table().to_pylist()
        if row["user_id"] in (2, 3) and row["window_from"] == RANGE.start and row["window_to"] == RANGE.end
    }
    assert rows_of(shop, RANGE) == stored


def test_what_is_not_stored_cannot_be_verified(spark: SparkSession, shop: Settings) -> None:
    with pytest.raises(NotComputedError, match="ask for them without --verify first"):
        pipelines.verify(spark, shop, TimeRange(at(2), at(4)))
