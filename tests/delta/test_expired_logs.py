"""The log of `events` goes back for 30 days: an older view is recomputed."""

import shutil
from datetime import datetime
from pathlib import Path

import pytest
from all_jobs import run_batch_jobs, run_streams
from deltalake import DeltaTable
from helpers import NewSettings, all_tables, send, shop_days
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta import maintenance, tables
from lambda_spark.delta.tables import EVENTS
from lambda_spark.errors import NotComputedError
from lambda_spark.serving import verification
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import UTC, TimeRange

pytestmark = [pytest.mark.fault("a view older than the log of events, of which Delta keeps 30 days"), pytest.mark.long]


@pytest.fixture(scope="module")
def shops(spark: SparkSession, new_run: NewSettings, new_settings: NewSettings) -> tuple[Settings, Settings]:
    """Return two shops whose views are of their first events; the second one's log goes back to its newest commit."""
    shop = new_run(speed={"shards": 2, "state_partitions": 1})
    send(shop.kafka, shop_days(range(1, 9)))
    run_streams(spark, shop)
    run_batch_jobs(spark, shop)
    expired = shop.model_copy(update={"data_root": new_settings().data_root})
    shutil.copytree(shop.data_root, expired.data_root, dirs_exist_ok=True)
    # By these the stream's next commit removes what it would remove 30 days later.
    properties = {"delta.logRetentionDuration": "interval 0 seconds", "delta.checkpointInterval": "1"}
    DeltaTable(tables.path_of(expired.data_root, EVENTS)).alter.set_table_properties(properties)
    send(shop.kafka, shop_days(range(7, 10)))
    for each in (shop, expired):
        run_streams(spark, each)
    return shop, expired


def test_a_comparison_past_the_log_is_an_error(spark: SparkSession, shops: tuple[Settings, Settings]) -> None:
    _, expired = shops
    with pytest.raises(NotComputedError, match=r"The log of events .* product_activity .*: run jobs/batch_trends\.py"):
        verification.check_identity(spark, expired)
    stored = TimeRange(datetime(2020, 3, 2, tzinfo=UTC), datetime(2020, 3, 9, tzinfo=UTC))
    with pytest.raises(NotComputedError, match=r"The log of `events` does not go back .*: ask again"):
        pipelines.verify(spark, expired, stored)


def test_answers_and_views_are_those_of_all_events(spark: SparkSession, shops: tuple[Settings, Settings]) -> None:
    for job in (pipelines.recommend, run_batch_jobs):
        for shop in shops:
            job(spark, shop)
        one, other = (all_tables(shop.data_root) for shop in shops)
        assert one == other


def test_optimize_keeps_the_offsets_that_the_stream_has_reached(
    spark: SparkSession, shops: tuple[Settings, Settings]
) -> None:
    shop, expired = shops
    assert any(done.removed for done in maintenance.optimize(expired.data_root, kept_hours=0))
    assert tables.lineage_of(expired.data_root, EVENTS) == tables.lineage_of(shop.data_root, EVENTS)
    send(shop.kafka, shop_days(range(9, 11)))
    for each in shops:
        run_streams(spark, each)
    assert all_tables(expired.data_root) == all_tables(shop.data_root)


def test_nothing_is_counted_twice_if_the_log_no_longer_has_the_stored_offsets(
    spark: SparkSession, shops: tuple[Settings, Settings], tmp_path: Path
) -> None:
    _, expired = shops
    shutil.copytree(expired.data_root, tmp_path / "data")
    settings = expired.model_copy(update={"data_root": str(tmp_path / "data")})
    log = DeltaTable(tables.path_of(settings.data_root, EVENTS))
    log.alter.set_table_properties({"delta.checkpointInterval": "1"})
    log.cleanup_metadata()
    with pytest.raises(NotComputedError, match=r"does not say how far .*: run jobs/ingest_events\.py until"):
        pipelines.recommend(spark, settings)
    send(settings.kafka, shop_days([11]))
    run_streams(spark, settings)
    pipelines.recommend(spark, settings)
    assert pipelines.verify(spark, settings).is_none
