"""What the first landed version has left, and events with a field that nobody knows yet, are read on."""

import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from all_jobs import run_batch_jobs
from helpers import NewSettings, contents, expected_lists, lists_of, random_events, send, shop_days
from pyspark import cloudpickle
from pyspark.sql import SparkSession
from pyspark.sql.streaming.stateful_processor import StatefulProcessorHandle

from lambda_spark import pipelines
from lambda_spark.batch.user_brands import merge_brand_lists
from lambda_spark.delta import commits
from lambda_spark.delta.tables import (
    EVENTS,
    PRODUCT_ACTIVITY,
    RECENT_BRANDS,
    RECOMMENDATIONS,
    REJECTED_EVENTS,
    TRENDS,
    USER_BRANDS,
    Table,
)
from lambda_spark.errors import StreamError
from lambda_spark.kafka.client import ensure_topic
from lambda_spark.serving import histories, verification
from lambda_spark.serving.snapshot import open_snapshot
from lambda_spark.settings import Settings
from lambda_spark.speed import state
from lambda_spark.speed.checkpoints import speed_checkpoint

pytestmark = [pytest.mark.fault("tables of earlier versions, a new field"), pytest.mark.slow]

SPEED = {"shards": 2, "state_partitions": 1}
DATA = Path(__file__).with_name("data")
# Of each archive, as it was made: its topic, and the days that its stream has read, but its ingest has not.
ARCHIVES = {"first-version": (), "version-0.1": (9,)}


@pytest.fixture(scope="module", params=ARCHIVES)
def roots(
    spark: SparkSession, broker: str, new_settings: NewSettings, request: pytest.FixtureRequest
) -> SimpleNamespace:
    """Let this version continue where an earlier one stopped, and read all of the same topic into another root."""
    topic, ahead = request.param, ARCHIVES[request.param]
    kafka = {"bootstrap_servers": broker, "topic": topic, "partitions": 2}
    upgraded, anew = (new_settings(kafka=kafka, speed=SPEED) for _ in range(2))
    with tarfile.open(DATA / f"{topic}.tar.gz") as archive:
        extract_all(archive, Path(upgraded.data_root))
    rename_topic(Path(upgraded.data_root), ensure_topic(anew.kafka).id)
    send(anew.kafka, [*shop_days(range(1, 9)), b"no event"])
    seen = [*shop_days(range(1, 9)), *shop_days(ahead)]
    unread = send(anew.kafka, shop_days(ahead)) if ahead else 0
    brands = lists_of(histories.merged_views(spark, upgraded.data_root, 50, open_snapshot(upgraded.data_root)))
    late = [{**event, "coupon": "SPRING"} for event in shop_days(range(9 + len(ahead), 11))]
    unread += send(anew.kafka, late)
    stored = {}
    for settings in (upgraded, anew):
        stored[settings.data_root] = pipelines.ingest_topic(spark, settings, available_now=True).stored
        run_batch_jobs(spark, settings)
    return SimpleNamespace(
        topic=topic, upgraded=upgraded, anew=anew, unread=unread, stored=stored, brands=brands, seen=seen
    )


def extract_all(archive: tarfile.TarFile, folder: Path) -> None:
    """Extract an archive of this project's own; `extractall(filter=…)` came with the later releases of each Python."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
    else:
        archive.extractall(folder)


def rename_topic(root: Path, topic_id: str) -> None:
    """Let the tables be of this broker's topic: only its id tells it from the one they were made of."""
    checkpoints = list(root.glob("*/_checkpoints/*/topic-id"))
    for old in {file.read_text() for file in checkpoints}:
        for file in [*checkpoints, *root.glob("*/_delta_log/*.json")]:
            file.write_text(file.read_text().replace(old, topic_id))


def test_the_brands_are_read_on(roots: SimpleNamespace) -> None:
    assert roots.brands == expected_lists(roots.seen, 50)


def test_the_events_of_both_versions_are_there_once(roots: SimpleNamespace) -> None:
    assert roots.stored[roots.upgraded.data_root] == roots.unread
    assert rows_of(roots.upgraded, EVENTS) == rows_of(roots.anew, EVENTS)
    assert rows_of(roots.upgraded, REJECTED_EVENTS) == rows_of(roots.anew, REJECTED_EVENTS)


@pytest.mark.parametrize("view", [PRODUCT_ACTIVITY, TRENDS, USER_BRANDS], ids=lambda view: view.name)
def test_the_views_are_those_of_all_events(roots: SimpleNamespace, view: Table) -> None:
    upgraded, anew = (rows_of(settings, view) for settings in (roots.upgraded, roots.anew))
    # The later archive also has the trends of a range that was asked for.
    assert upgraded == anew or (view == TRENDS and roots.topic == "version-0.1" and anew < upgraded)


def test_a_state_that_was_moved_is_rebuilt_and_the_lambda_identity_holds(
    spark: SparkSession, roots: SimpleNamespace
) -> None:
    with pytest.raises(StreamError, match=r"/_checkpoints/speed/state/.* is missing.*--rebuild-from-master"):
        pipelines.speed_stream(spark, roots.upgraded, available_now=True)
    pipelines.speed_stream(spark, roots.upgraded, available_now=True, rebuild=True)
    found = verification.check_identity(spark, roots.upgraded)
    assert [difference.row_count > 0 and difference.is_none for difference in found] == [True, True]


def test_the_earlier_versions_recommendations_stay_beside_the_new_ones(roots: SimpleNamespace) -> None:
    upgraded, anew = (set(rows_of(settings, RECOMMENDATIONS)) for settings in (roots.upgraded, roots.anew))
    assert anew < upgraded


def rows_of(settings: Settings, table: Table) -> dict[str, int]:
    return contents(settings.data_root, table, ["rejected_at"] if table == REJECTED_EVENTS else [])


class LaterRecentBrands(state.RecentBrands):
    """As a later version might be: its state has one more field."""

    def init(self, handle: StatefulProcessorHandle) -> None:
        stored = handle.getValueState("sightings", "packed binary, note string")
        self._sightings = SimpleNamespace(get=stored.get, update=lambda packed: stored.update((*packed, "noted")))


def test_a_state_with_one_more_field_goes_on(
    spark: SparkSession, new_run: NewSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = new_run(speed=SPEED, brands={"limit": 5})
    first, second = random_events(60, 1), random_events(60, 2)
    send(settings.kafka, first)
    pipelines.speed_stream(spark, settings, available_now=True)
    # Spark's workers do not find this file.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(state, "RecentBrands", LaterRecentBrands)
    send(settings.kafka, second)
    assert pipelines.speed_stream(spark, settings, available_now=True) == 60
    stored = spark.read.format("statestore").option("stateVarName", "sightings")
    rows = stored.load(str(speed_checkpoint(settings.data_root))).collect()
    assert {row.value.note for row in rows} == {"noted"}
    lists = merge_brand_lists([commits.read(spark, settings.data_root, RECENT_BRANDS)], 5)
    assert lists_of(lists) == expected_lists(first + second, 5)
