"""The whole story, one function per job: master dataset, batch views, realtime view, serving view."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import (
    brand_state,
    commits,
    counts,
    events,
    handover,
    kafka_source,
    streams,
    tables,
    trend_windows,
    views,
)
from lambda_spark.checkpoints import Offsets, batch_offsets, count_between
from lambda_spark.file_ranges import plan_ranges
from lambda_spark.files import check_event_file, file_id
from lambda_spark.kafka import check_topic
from lambda_spark.serving import replace_recommendations
from lambda_spark.settings import Settings
from lambda_spark.streams import Watch
from lambda_spark.summary import Counts
from lambda_spark.tables import EVENTS, MASTER_DATASET, RECENT_BRANDS, RECOMMENDATIONS, TRENDS, USER_BRANDS
from lambda_spark.time_ranges import Request, TimeRange
from lambda_spark.trend_windows import Answer

# A task writes a file for each day: more of them would be faster in a large micro-batch, and leave more small files.
_MESSAGES_PER_TASK = 150_000

_FILES_AT_A_TIME = 2

_RECOMMENDED_FROM = (EVENTS, TRENDS, USER_BRANDS, RECENT_BRANDS)


def ingest_topic(spark: SparkSession, settings: Settings, available_now: bool, watch: Watch | None = None) -> Counts:
    """Topic -> `events` and `rejected_events`, exactly once. Returns what this run has received and stored."""
    check_topic(settings.kafka.bootstrap_servers, settings.kafka.topic)
    root, checkpoint = settings.data_root, counts.ingest_checkpoint(settings.data_root)
    _create_master_dataset(spark, root)
    before = counts.master_dataset_counts(root)
    messages = kafka_source.stream_messages(spark, settings.kafka, settings.ingest.max_messages_per_trigger)

    def store(received: DataFrame, batch_id: int) -> None:
        start, end = batch_offsets(checkpoint, batch_id - 1), batch_offsets(checkpoint, batch_id)
        writer, lineage = f"ingest/{streams.query_id(checkpoint)}", handover.reach(settings.kafka.topic, end)
        rows = received.coalesce(count_between(start, end) // _MESSAGES_PER_TASK + 1)
        commits.append_once(rows, events.divide_messages, root, MASTER_DATASET, writer, batch_id, lineage)
        if watch:
            watch(received, batch_id, start, end)

    stream = messages.select(*events.MESSAGE_COLUMNS).writeStream.foreachBatch(store)
    received = streams.run_stream(stream, checkpoint, None if available_now else settings.ingest.trigger)
    return counts.growth(before, counts.master_dataset_counts(root), received)


def ingest_files(spark: SparkSession, settings: Settings, files: Sequence[Path]) -> Counts:
    """Event files -> the same tables, without Kafka; a file whose content is there already is passed over.

    Raises EventFileError before anything is stored.
    """
    root = settings.data_root
    for file in files:
        check_event_file(file)
    _create_master_dataset(spark, root)
    before = counts.master_dataset_counts(root)

    def store(file: Path) -> None:
        ranges = plan_ranges(file)
        numbers = spark.range(0, len(ranges), numPartitions=len(ranges))
        commits.append_once(numbers, events.range_divider(ranges), root, MASTER_DATASET, f"file/{file_id(file)}", 0)

    # While a file is looked through on the driver, the tasks have another to work on.
    with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
        list(pool.map(store, files))
    return counts.growth(before, counts.master_dataset_counts(root))


def speed_stream(spark: SparkSession, settings: Settings, available_now: bool, watch: Watch | None = None) -> int:
    """Topic -> state -> `recent_brands`, exactly once. Returns the number of messages this run has received."""
    check_topic(settings.kafka.bootstrap_servers, settings.kafka.topic)
    speed, root, checkpoint = settings.speed, settings.data_root, counts.speed_checkpoint(settings.data_root)
    topic = settings.kafka.topic
    tables.create(spark, root, RECENT_BRANDS)
    messages = kafka_source.stream_messages(spark, settings.kafka, speed.max_messages_per_trigger)
    combined = brand_state.combine_messages(messages, speed.shards, settings.brands.event_types)
    updated = brand_state.update_brand_state(combined, settings.brands.limit)

    dropped = handover.dropped_offsets(root, topic)

    def append(packed: DataFrame, batch_id: int) -> None:
        nonlocal dropped
        start, end = batch_offsets(checkpoint, batch_id - 1), batch_offsets(checkpoint, batch_id)
        lists = brand_state.brand_list_maker(**_batch_columns(batch_id, topic, end))
        writer, lineage = f"speed/{streams.query_id(checkpoint)}", handover.reach(topic, dropped)
        if not commits.append_once(packed, lists, root, [RECENT_BRANDS], writer, batch_id, lineage):
            # A run that died before its checkpoint stored the batch; unless the rows are read, the state lacks it.
            packed.write.format("noop").mode("append").save()
        if watch:
            watch(tables.read(spark, root, RECENT_BRANDS).where(F.col("batch_id") == batch_id), batch_id, start, end)
        dropped = handover.drop_covered(spark, root, topic, settings.brands, dropped)

    # The number of state partitions is that of the query's shuffle, and fixed with its first start.
    spark.conf.set("spark.sql.shuffle.partitions", speed.state_partitions)
    stream = updated.writeStream.outputMode("update").foreachBatch(append)
    return streams.run_stream(stream, checkpoint, None if available_now else speed.trigger)


def batch_trends(spark: SparkSession, settings: Settings, asked: TimeRange | None = None) -> Request:
    """Master dataset -> `product_activity` -> `trends` for a range, or for every default window that is not there yet.

    Returns the window that answers what was asked, which is stored now.

    Raises TimeRangeError for a range that cannot be answered, NotComputedError where there are no events.
    """
    root = settings.data_root
    request = trend_windows.resolve_request(root, settings.trends, asked)
    version = views.update_product_activity(spark, root)
    if not asked:
        trend_windows.update_trends(spark, root, settings.trends, version)
    if asked or not trend_windows.is_default_window(root, settings.trends, request):
        trend_windows.replace_trends(spark, root, settings.trends, request)
    return request


def batch_brands(spark: SparkSession, settings: Settings, rebuild: bool = False) -> None:
    """Master dataset -> `user_brands`, from what is new or from the first event on.

    Raises NotComputedError where there are no events.
    """
    views.days_held(settings.data_root)
    views.update_user_brands(spark, settings.data_root, settings.brands, rebuild)


def recommend(
    spark: SparkSession, settings: Settings, asked: TimeRange | None = None, users: Sequence[int] = ()
) -> Answer:
    """Trends ⋈ recent brands -> `recommendations` for a range; of all users, or of those named.

    Does nothing where the last recommendations were the same ones, by the same rules, from the same versions of all.

    Raises TimeRangeError and NotComputedError as batch_trends does, and UnknownUserError.
    """
    root = settings.data_root
    request = trend_windows.resolve_request(root, settings.trends, asked)
    where = trend_windows.window_condition(request.range)
    if users:
        where = f"{where} AND user_id IN ({', '.join(map(str, users))})"
    lineage = {
        "rows": where,
        "bucket": request.bucket,
        "versions": tables.versions_of(root, _RECOMMENDED_FROM),
        "rules": settings.model_dump(mode="json", include={"trends", "brands", "recommendations"}),
    }
    if tables.lineage_of(root, RECOMMENDATIONS) != lineage:
        replace_recommendations(spark, settings, request, users, where, lineage)
    notes = request.notes + views.uncovered_events(root) + handover.hole(root)
    return Answer(request._replace(notes=notes), where)


def _create_master_dataset(spark: SparkSession, root: str) -> None:
    for table in MASTER_DATASET:
        tables.create(spark, root, table)


def _batch_columns(batch_id: int, topic: str, reached: Offsets) -> dict[str, pa.Scalar]:
    """Return where the lists of a micro-batch come from, as schemas.RECENT_BRANDS says."""
    return {
        "batch_id": pa.scalar(batch_id, pa.int64()),
        "source_topic": pa.scalar(topic),
        "source_offsets": pa.scalar(list(reached.items()), pa.map_(pa.int32(), pa.int64())),
    }
