"""Recommendations from a shop's tables: for the default range, a past one, some users; and what cannot be asked."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from deltalake import DeltaTable
from helpers import (
    Lists,
    NewSettings,
    contents,
    event,
    expected_lists,
    lists_of,
    micros,
    shop_days,
    versions,
    write_events,
)
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta import tables
from lambda_spark.delta.tables import RECOMMENDATIONS, TRENDS
from lambda_spark.errors import NotComputedError, TimeRangeError, UnknownUserError
from lambda_spark.serving import histories, recommender
from lambda_spark.serving.snapshot import open_snapshot
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import TimeRange

# So few brands that a user's list depends on the day.
SECTIONS = {
    "brands": {"limit": 3},
    "trends": {"min_events": 1, "smoothing": 1.0},
    "recommendations": {"order": "trend-rank"},
}
EVENTS = [
    *shop_days(range(1, 11)),
    event("2020-03-09 12:00:00", 1, 6, event_type="purchase"),
    event("2020-03-02 12:00:00", 2, 5, event_type="purchase"),
]
PAST = TimeRange(datetime(2020, 3, 1, tzinfo=timezone.utc), datetime(2020, 3, 5, tzinfo=timezone.utc))


@pytest.fixture(scope="module")
def shop(spark: SparkSession, new_settings: NewSettings, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Recommend before the trends are stored, and again once they are."""
    settings = new_settings(**SECTIONS)
    root = settings.data_root
    pipelines.ingest_files(spark, settings, [write_events(tmp_path_factory.mktemp("files") / "events.csv", EVENTS)])
    pipelines.batch_brands(spark, settings)
    answer = pipelines.recommend(spark, settings)
    on_the_fly, has_trends = contents(root, RECOMMENDATIONS), tables.exists(root, TRENDS)
    pipelines.batch_trends(spark, settings)
    before = versions(root)
    pipelines.recommend(spark, settings)
    return SimpleNamespace(
        settings=settings,
        answer=answer.query.request,
        on_the_fly=on_the_fly,
        has_trends=has_trends,
        stored=contents(root, RECOMMENDATIONS),
        written={name for name, version in versions(root).items() if version != before[name]},
    )


def in_range(time_range: TimeRange) -> list[dict[str, str]]:
    start, end = (int(instant.timestamp() * 1e6) for instant in time_range)
    return [row for row in EVENTS if start <= micros(row["event_time"]) < end]


def lists_before(end: datetime) -> Lists:
    return expected_lists([row for row in EVENTS if micros(row["event_time"]) < end.timestamp() * 1e6], limit=3)


def expected(time_range: TimeRange, lists: Lists, ranks: dict[int, int]) -> Counter[Any]:
    """Match trends (product_id -> rank; product 7 is of brand b7) with lists by the words of the design alone."""
    bought = {(r["user_id"], r["product_id"]) for r in in_range(time_range) if r["event_type"] == "purchase"}
    rows: Counter[Any] = Counter()
    for user_id, brands in lists.items():
        places = {brand: (place, seen) for place, (brand, seen) in enumerate(brands, 1)}
        matches = [p for p in sorted(ranks, key=ranks.__getitem__) if f"b{p}" in places]
        left = [p for p in matches if (str(user_id), str(p)) not in bought]
        rows.update((user_id, rank, p, ranks[p], *places[f"b{p}"]) for rank, p in enumerate(left, 1))
    return rows


def stored(settings: Settings, time_range: TimeRange) -> list[dict[str, Any]]:
    rows = DeltaTable(f"{settings.data_root}/recommendations").to_pyarrow_table().to_pylist()
    return [row for row in rows if (row["window_from"], row["window_to"]) == tuple(time_range)]


def essence(rows: Iterable[dict[str, Any]]) -> Counter[Any]:
    names = ("user_id", "rank", "product_id", "trend_rank", "brand_position")
    return Counter((*(row[name] for name in names), round(row["brand_last_seen_at"].timestamp() * 1e6)) for row in rows)


def trend_ranks(settings: Settings, time_range: TimeRange) -> dict[int, int]:
    rows = DeltaTable(f"{settings.data_root}/trends").to_pyarrow_table().to_pylist()
    return {r["product_id"]: r["rank"] for r in rows if (r["window_from"], r["window_to"]) == tuple(time_range)}


def test_the_default_range_is_answered_from_trends_and_recent_brands(shop: SimpleNamespace) -> None:
    week = TimeRange(*(datetime(2020, 3, day, tzinfo=timezone.utc) for day in (4, 11)))
    assert (shop.answer.range, shop.answer.notes) == (week, ())
    ranks = trend_ranks(shop.settings, week)
    assert ranks[1] == 1
    assert essence(stored(shop.settings, week)) == expected(week, lists_before(week.end), ranks)


def test_trends_that_are_not_stored_are_computed_and_left_to_the_batch_job(shop: SimpleNamespace) -> None:
    assert not shop.has_trends
    assert shop.on_the_fly == shop.stored


def test_a_rerun_changes_no_row_and_writes_no_other_table(shop: SimpleNamespace) -> None:
    assert shop.on_the_fly == shop.stored
    assert shop.written == {"recommendations"}


def test_nothing_is_done_until_data_rule_or_question_change(spark: SparkSession, shop: SimpleNamespace) -> None:
    root = shop.settings.data_root
    pipelines.recommend(spark, shop.settings)
    before = versions(root)
    pipelines.recommend(spark, shop.settings)
    assert versions(root) == before
    fewer = shop.settings.recommendations.model_copy(update={"per_user": 2})
    for settings in (shop.settings.model_copy(update={"recommendations": fewer}), shop.settings):
        pipelines.recommend(spark, settings)
        before["recommendations"] += 1
        assert versions(root) == before
    assert contents(root, RECOMMENDATIONS) == shop.stored


def test_a_past_range_takes_the_brands_as_they_stood_at_its_end(spark: SparkSession, shop: SimpleNamespace) -> None:
    before, default = versions(shop.settings.data_root), contents(shop.settings.data_root, RECOMMENDATIONS)
    pipelines.recommend(spark, shop.settings, PAST)
    found = stored(shop.settings, PAST)
    ranks = {row["product_id"]: row["trend_rank"] for row in found}
    assert lists_before(PAST.end) != expected_lists(EVENTS, limit=3)
    assert essence(found) == expected(PAST, lists_before(PAST.end), ranks)
    assert versions(shop.settings.data_root) == before | {"recommendations": before["recommendations"] + 1}
    assert default <= contents(shop.settings.data_root, RECOMMENDATIONS)


def test_an_unknown_user_is_named(spark: SparkSession, shop: SimpleNamespace) -> None:
    with pytest.raises(UnknownUserError, match=r"No event names the user 77, 99: choose one that `events` holds"):
        pipelines.recommend(spark, shop.settings, users=[77, 2, 99])


def test_a_range_outside_the_data_names_the_data(spark: SparkSession, shop: SimpleNamespace) -> None:
    with pytest.raises(TimeRangeError, match=r"outside the data, which runs from 2020-03-01.* to 2020-03-10T23:30:00"):
        pipelines.recommend(spark, shop.settings, TimeRange(*(moment.replace(month=5) for moment in PAST)))


def test_views_that_lag_are_told_and_the_answer_is_whole_all_the_same(
    spark: SparkSession, shop: SimpleNamespace, tmp_path: Path
) -> None:
    late = [event("2020-03-04 22:59:59", user_id, user_id + 1) for user_id in (1, 2, 9)]
    later = [event("2020-03-12 12:00:00", 1, 1)]
    pipelines.ingest_files(spark, shop.settings, [write_events(tmp_path / "late.csv", late + later)])
    for end, rows in ((11, EVENTS + late), (13, EVENTS + late + later)):
        range_ = TimeRange(PAST.start, datetime(2020, 3, end, tzinfo=timezone.utc))
        query = recommender.plan_query(shop.settings, open_snapshot(shop.settings.data_root), range_, None, ())
        assert any("run jobs/batch_brands.py" in note for note in query.request.notes) == (end == 13)
        assert lists_of(recommender.present_brands(spark, shop.settings, query)) == expected_lists(rows, limit=3)


def test_where_no_view_knows_brands_the_jobs_that_do_are_named(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(NotComputedError, match=r"run jobs/speed_stream\.py or jobs/batch_brands\.py"):
        histories.merged_views(spark, str(tmp_path), 50, open_snapshot(str(tmp_path)))
