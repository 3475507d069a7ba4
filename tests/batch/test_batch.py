"""The batch views kept current: only days and windows with new events are recomputed, and a rerun changes nothing."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from deltalake import DeltaTable
from helpers import (
    NewSettings,
    event,
    expected_lists,
    micros,
    read_events,
    shop_days,
    stored_lists,
    versions,
    write_events,
)
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.batch.trends import best_trends, stored_trends
from lambda_spark.delta import tables
from lambda_spark.delta.parquet_files import window_key
from lambda_spark.delta.tables import PRODUCT_ACTIVITY, TRENDS, USER_BRANDS, files_of
from lambda_spark.errors import NotComputedError, TimeRangeError
from lambda_spark.time_ranges import TimeRange

TREND_RULE = {"min_events": 1, "smoothing": 1.0}
FIRST = shop_days(range(1, 10))
# Ten late events, by users and of products both known and new, and the next day.
MORE = [event(f"2020-03-02 0{hour}:00:00", hour % 7 + 1, 5 + hour % 3, brand="late") for hour in range(10)]
MORE += shop_days([10])


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2020, 3, day, hour, tzinfo=timezone.utc)


def week_before(end: int) -> tuple[datetime, datetime, str]:
    return at(end - 7), at(end), "day"


def windows(root: str) -> dict[tuple[datetime, datetime, str], Counter[str]]:
    """Return the rows of each stored window of `trends`."""
    rows = DeltaTable(f"{root}/trends").to_pyarrow_table().to_pylist()
    found = defaultdict(Counter)
    for row in rows:
        found[row["window_from"], row["window_to"], row["bucket"]][str(row)] += 1
    return dict(found)


def days(root: str) -> dict[str, Counter[str]]:
    """Return the rows of each day of `product_activity`."""
    found = defaultdict(Counter)
    for row in DeltaTable(f"{root}/product_activity").to_pyarrow_table().to_pylist():
        found[str(row["event_date"])][str(row)] += 1
    return dict(found)


def day_by_file(root: str, version: int) -> dict[str, date]:
    files = files_of(root, PRODUCT_ACTIVITY, version)
    return dict(zip(files["path"].to_pylist(), files["partition.event_date"].to_pylist(), strict=True))


def changed(before: dict, after: dict) -> set:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


@pytest.fixture(scope="module")
def shop(spark: SparkSession, new_settings: NewSettings, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Run the batch layer over nine days, then with late events of the second and a tenth day, then again."""
    settings, folder = new_settings(trends=TREND_RULE), tmp_path_factory.mktemp("files")
    root, after = settings.data_root, {}
    for name, rows in {"first": FIRST, "more": MORE, "rerun": []}.items():
        if rows:
            pipelines.ingest_files(spark, settings, [write_events(folder / f"{name}.csv", rows)])
        request = pipelines.batch_trends(spark, settings)
        pipelines.batch_brands(spark, settings)
        brands = stored_lists(root, USER_BRANDS)
        state = {"days": days(root), "windows": windows(root), "versions": versions(root)}
        after[name] = SimpleNamespace(request=request, brands=brands, **state)
    return SimpleNamespace(settings=settings, **after)


def test_every_default_window_is_there_and_the_last_is_the_answer(shop: SimpleNamespace) -> None:
    assert shop.first.windows.keys() == {week_before(end) for end in (8, 9, 10)}
    assert shop.more.windows.keys() == {week_before(end) for end in (8, 9, 10, 11)}
    assert (*shop.more.request.range, shop.more.request.bucket) == week_before(11)


def test_new_events_change_their_days_and_the_windows_over_these_and_no_other(shop: SimpleNamespace) -> None:
    assert changed(shop.first.days, shop.more.days) == {"2020-03-02", "2020-03-10"}
    assert changed(shop.first.windows, shop.more.windows) == {week_before(end) for end in (8, 9, 11)}


def test_only_days_with_new_events_are_computed_again(shop: SimpleNamespace) -> None:
    root = shop.settings.data_root
    newest = shop.rerun.versions[PRODUCT_ACTIVITY.name]
    before, after = (day_by_file(root, version) for version in (newest - 1, newest))
    assert {day for _, day in after.items() - before.items()} == {date(2020, 3, 2), date(2020, 3, 10)}
    # Whole partitions are replaced: the files of other days stay.
    assert {day for _, day in before.items() - after.items()} == {date(2020, 3, 2)}


def test_a_rerun_writes_nothing(shop: SimpleNamespace) -> None:
    assert shop.rerun.versions == shop.more.versions
    assert shop.rerun.request == shop.more.request


def test_the_newest_commit_is_the_lineage_of_every_default_window(shop: SimpleNamespace) -> None:
    keys = {window_key(TimeRange(start, end), bucket) for start, end, bucket in shop.more.windows}
    lineages = tables.window_lineages(shop.settings.data_root, TRENDS, keys, shop.rerun.versions[TRENDS.name])
    assert lineages.keys() == keys
    assert {lineage["events_version"] for lineage in lineages.values()} == {shop.rerun.versions[tables.EVENTS.name]}


def test_brands_follow_the_events(shop: SimpleNamespace) -> None:
    assert shop.first.brands == expected_lists(FIRST)
    assert shop.more.brands == shop.rerun.brands == expected_lists(FIRST + MORE)


def test_views_kept_up_to_date_equal_views_computed_at_once(
    spark: SparkSession, shop: SimpleNamespace, new_settings: NewSettings
) -> None:
    at_once = new_settings(trends=TREND_RULE)
    shutil.copytree(f"{shop.settings.data_root}/events", f"{at_once.data_root}/events")
    pipelines.batch_trends(spark, at_once)
    assert days(at_once.data_root) == shop.more.days
    assert windows(at_once.data_root) == shop.more.windows
    pipelines.batch_brands(spark, shop.settings, rebuild=True)
    assert stored_lists(shop.settings.data_root, USER_BRANDS) == shop.more.brands


def test_a_requested_range_replaces_its_own_window_only(spark: SparkSession, shop: SimpleNamespace) -> None:
    root = shop.settings.data_root
    request = pipelines.batch_trends(spark, shop.settings, TimeRange(at(2), at(5)))
    assert changed(shop.more.windows, windows(root)) == {(at(2), at(5), "day")}
    assert [row.rank for row in best_trends(root, request, 99)] == [1, 2, 3, 4, 5, 6, 7]
    best = [(row.product_id, list(row.buckets)) for row in best_trends(root, request, 2)]
    rows = stored_trends(spark, root, request).orderBy("rank").limit(2).collect()
    assert [(product, [count for _, count in buckets]) for product, buckets in best] == [
        (row.product_id, [count for _, count in row.buckets]) for row in rows
    ]
    assert request.notes == ()


def test_a_default_window_that_was_requested_by_another_rule_comes_back(
    spark: SparkSession, shop: SimpleNamespace
) -> None:
    root, window = shop.settings.data_root, TimeRange(at(4), at(11))
    other_rule = shop.settings.model_copy(update={"trends": shop.settings.trends.model_copy(update={"top": 2})})
    assert len(best_trends(root, pipelines.batch_trends(spark, other_rule, window), 99)) == 2
    assert len(best_trends(root, pipelines.batch_trends(spark, shop.settings), 99)) == 6
    # No other window is recomputed.
    newest = tables.commit_of(root, TRENDS, tables.version_of(root, TRENDS)) or []
    assert [f"/window={window_key(window, 'day')}/" in path for path in tables.added_by(root, TRENDS, newest)] == [True]
    assert changed(shop.more.windows, windows(root)) == {(at(2), at(5), "day")}


def test_buckets_of_ten_minutes_on_a_real_morning_follow_late_events(
    spark: SparkSession, new_settings: NewSettings, tmp_path: Path, real_file: Callable[[str], Path]
) -> None:
    settings = new_settings(trends={"count_by": "events", "min_events": 5, "top": 100_000})
    rows = read_events(real_file("rees46-multi-2019-10-01.csv"))
    # The first and the last event come first: the range is the same both times.
    parts = {"first.csv": [*rows[:-1:2], rows[-1]], "late.csv": rows[1:-1:2]}
    for name, part in parts.items():
        pipelines.ingest_files(spark, settings, [write_events(tmp_path / name, part)])
        request = pipelines.batch_trends(spark, settings)
    midnight = datetime(2019, 10, 1, tzinfo=timezone.utc)
    assert request.range == TimeRange(midnight, midnight + timedelta(minutes=170))
    assert request.bucket == "10 minutes"
    assert "no two complete days" in request.notes[0]
    stored = DeltaTable(f"{settings.data_root}/trends").to_pyarrow_table().to_pylist()
    counts = {row["product_id"]: [bucket["event_count"] for bucket in row["buckets"]] for row in stored}
    assert counts == counts_by_ten_minutes(rows, 17, at_least=5)


def counts_by_ten_minutes(rows: list[dict[str, str]], buckets: int, at_least: int) -> dict[int, list[int]]:
    counts: dict[int, list[int]] = defaultdict(lambda: [0] * buckets)
    for row in rows:
        bucket = micros(row["event_time"]) % 86_400_000_000 // 600_000_000
        if bucket < buckets:
            counts[int(row["product_id"])][bucket] += 1
    return {product_id: found for product_id, found in counts.items() if sum(found) >= at_least}


def test_without_events_every_batch_job_says_what_to_run(
    spark: SparkSession, new_settings: NewSettings, tmp_path: Path
) -> None:
    settings = new_settings()
    for job in (pipelines.batch_trends, pipelines.batch_brands, pipelines.recommend):
        with pytest.raises(NotComputedError, match=r"no events in .* yet: run jobs/ingest_events\.py"):
            job(spark, settings)
    nothing_good = write_events(tmp_path / "bad.csv", [event("2020-03-01 12:00:00", 1, 1, price="free")])
    pipelines.ingest_files(spark, settings, [nothing_good])
    with pytest.raises(NotComputedError, match="no events"):
        pipelines.batch_trends(spark, settings)


def test_a_range_outside_the_data_is_an_error_and_one_past_it_a_note(
    spark: SparkSession, shop: SimpleNamespace
) -> None:
    with pytest.raises(TimeRangeError, match=r"outside the data, which runs from 2020-03-01"):
        pipelines.batch_trends(spark, shop.settings, TimeRange(at(20), at(25)))
