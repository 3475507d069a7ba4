"""The whole story, one function per job: master dataset, batch views, realtime view, serving view."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

from pyspark.sql import SparkSession

from lambda_spark import schemas
from lambda_spark.batch import product_activity, trends, user_brands
from lambda_spark.delta import commits, event_log, tables
from lambda_spark.delta.event_log import Counts, event_days
from lambda_spark.delta.parquet_files import as_map_in_arrow, window_key
from lambda_spark.delta.tables import EVENTS, MASTER_DATASET, RECENT_BRANDS, RECOMMENDATIONS
from lambda_spark.events import parsing
from lambda_spark.events.event_files import check_event_file, file_id, plan_ranges
from lambda_spark.kafka import source
from lambda_spark.kafka.client import broker_monitor
from lambda_spark.serving import recommender, verification
from lambda_spark.serving.recommender import Query, Result
from lambda_spark.serving.snapshot import boundary_of, open_snapshot
from lambda_spark.serving.verification import Difference, rebuild_views
from lambda_spark.settings import Settings
from lambda_spark.speed import checkpoint_guard, checkpoints, micro_batches, state, streams
from lambda_spark.speed.checkpoint_guard import CheckpointStart, guarded_checkpoint
from lambda_spark.speed.streams import BatchListener
from lambda_spark.time_ranges import Request, TimeRange
from lambda_spark.trends import windows

_FILES_AT_A_TIME = 2


def ingest_topic(
    spark: SparkSession,
    settings: Settings,
    available_now: bool,
    on_batch: BatchListener | None = None,
    rebuild: bool = False,
) -> Counts:
    """Topic -> `events` and `rejected_events`, exactly once. Returns what this run has received and stored.

    With `rebuild` it resumes without its checkpoint, from what the tables hold.
    """
    root, checkpoint = settings.data_root, checkpoints.ingest_checkpoint(settings.data_root)
    start = partial(checkpoint_guard.ingest_start, root, settings.kafka.topic) if rebuild else None
    with guarded_checkpoint(settings.kafka, root, checkpoint, EVENTS, start):
        commits.create_all(spark, root, MASTER_DATASET)
        before = event_log.master_dataset_counts(root)
        messages = source.stream_messages(spark, settings.kafka, settings.ingest.max_messages_per_trigger)
        store = micro_batches.event_writer(settings, checkpoint, on_batch)
        stream = messages.select(*parsing.MESSAGE_COLUMNS).writeStream.foreachBatch(store)
        trigger = None if available_now else settings.ingest.trigger
        received = streams.run_stream(stream, checkpoint, trigger, broker_monitor(settings.kafka))
        return event_log.growth(before, event_log.master_dataset_counts(root), received)


def ingest_files(spark: SparkSession, settings: Settings, files: Sequence[Path]) -> Counts:
    """Event files -> the same tables, without Kafka; a file whose content is stored already is skipped.

    Raises EventFileError before anything is stored.
    """
    root = settings.data_root
    for file in files:
        check_event_file(file)
    commits.create_all(spark, root, MASTER_DATASET)
    before = event_log.master_dataset_counts(root)

    def store(file: Path) -> None:
        ranges = plan_ranges(file)
        numbers = spark.range(0, len(ranges), numPartitions=len(ranges))
        commits.append_once(numbers, parsing.range_divider(ranges), root, MASTER_DATASET, f"file/{file_id(file)}", 0)

    # While the driver scans a file, the tasks work on another.
    with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
        list(pool.map(store, files))
    return event_log.growth(before, event_log.master_dataset_counts(root))


def speed_stream(
    spark: SparkSession,
    settings: Settings,
    available_now: bool,
    on_batch: BatchListener | None = None,
    rebuild: bool = False,
) -> int:
    """Topic -> state -> `recent_brands`, exactly once. Returns the number of messages this run has received.

    With `rebuild` it resumes without its checkpoint, with a new state instead of the old one; raises NotComputedError
    if there are no events.
    """
    speed, root, topic = settings.speed, settings.data_root, settings.kafka.topic
    checkpoint = checkpoints.speed_checkpoint(root)

    def start() -> CheckpointStart:
        batch_brands(spark, settings)
        return checkpoint_guard.speed_start(root, topic, settings.brands)

    with guarded_checkpoint(settings.kafka, root, checkpoint, RECENT_BRANDS, start if rebuild else None):
        commits.create(spark, root, RECENT_BRANDS)
        messages = source.stream_messages(spark, settings.kafka, speed.max_messages_per_trigger)
        # A task costs some 60 ms, however few its messages: as many of them as run at a time.
        coalesced = messages.coalesce(max(speed.state_partitions, spark.sparkContext.defaultParallelism))
        combined = state.combine_messages(coalesced, speed.shards, settings.brands.event_types)
        updated = state.update_state(combined, settings.brands.limit)
        # The number of state partitions is that of the query's shuffle, and fixed at its first start.
        spark.conf.set("spark.sql.shuffle.partitions", speed.state_partitions)
        append = micro_batches.view_writer(spark, settings, checkpoint, on_batch)
        stream = updated.writeStream.outputMode("update").foreachBatch(append)
        trigger = None if available_now else speed.trigger
        return streams.run_stream(stream, checkpoint, trigger, broker_monitor(settings.kafka))


def batch_trends(spark: SparkSession, settings: Settings, asked: TimeRange | None = None) -> Request:
    """Master dataset -> `product_activity` -> `trends` for a range, or for every default window that is not there yet.

    Returns the window that answers what was asked, which is stored now.

    Raises TimeRangeError for a range that cannot be answered, NotComputedError if there are no events.
    """
    root = settings.data_root
    request = windows.resolve_request(settings.trends, asked, event_days(root))
    product_activity.update_product_activity(spark, root)
    if not asked:
        trends.update_trends(spark, root, settings.trends)
    if asked or not trends.is_default_window(root, settings.trends, request):
        trends.replace_trends(spark, root, settings.trends, request)
    return request


def batch_brands(spark: SparkSession, settings: Settings, rebuild: bool = False) -> None:
    """Master dataset -> `user_brands`, from what is new or from the first event on.

    Raises NotComputedError if there are no events.
    """
    event_days(settings.data_root)
    user_brands.update_user_brands(spark, settings.data_root, settings.brands, rebuild)


def recommend(
    spark: SparkSession,
    settings: Settings,
    asked: TimeRange | None = None,
    users: Sequence[int] = (),
    as_of: datetime | None = None,
) -> Result:
    """Trends and recent brands -> `recommendations` of a range for all users, or rows for those named; as of a moment.

    Does nothing if the stored recommendations are the same ones, by the same rules, from the same snapshot.
    Raises TimeRangeError and NotComputedError as batch_trends does, and UnknownUserError.
    """
    root = settings.data_root
    snapshot = open_snapshot(root)
    query = recommender.plan_query(settings, snapshot, asked, as_of, users)
    lineage, rows = recommender.query_lineage(settings, query, snapshot), None
    key = window_key(query.request.range)
    if users:
        plan = recommender.plan_recommendations(spark, settings, query, snapshot)
        computed = plan.brands.mapInArrow(as_map_in_arrow(plan.build_rows), schemas.RECOMMENDATIONS)
        rows = computed.orderBy("user_id", "rank").collect()
    elif tables.window_lineages(root, RECOMMENDATIONS, [key]).get(key) != lineage:
        plan = recommender.plan_recommendations(spark, settings, query, snapshot)
        commits.replace(plan.brands, plan.build_rows, root, RECOMMENDATIONS, [key], lineage)
    return Result(query, boundary_of(root, snapshot), rows)


def verify(
    spark: SparkSession,
    settings: Settings,
    asked: TimeRange | None = None,
    users: Sequence[int] = (),
    as_of: datetime | None = None,
) -> Difference:
    """Compare the stored answer to a query, or the one for named users, with what the events alone say.

    Raises TimeRangeError and NotComputedError.
    """
    snapshot = open_snapshot(settings.data_root)
    query = recommender.plan_query(settings, snapshot, asked, as_of, users)
    if users:
        return verification.verify_now(spark, settings, query, snapshot)
    return verification.verify_stored(spark, settings.data_root, query.request.range)


def rebuild(spark: SparkSession, settings: Settings) -> list[Difference]:
    """Master dataset -> every batch view from scratch, committed only if the Lambda identity holds of them.

    Then brings in what was stored meanwhile, and answers again what `recommendations` answers. Returns what was
    compared; raises NotComputedError if there are no events.
    """
    found = rebuild_views(spark, settings)
    if not all(difference.is_none for difference in found):
        return found
    batch_trends(spark, settings)
    batch_brands(spark, settings)
    answered: dict[str, Query] = {}
    for lineage in tables.lineages_of(settings.data_root, RECOMMENDATIONS):
        if not lineage.get("users"):
            query = recommender.query_of(lineage)
            answered.setdefault(window_key(query.request.range), query)
    for query in reversed(answered.values()):
        of_bucket = settings.trends.model_copy(update={"bucket": query.request.bucket})
        recommend(spark, settings.model_copy(update={"trends": of_bucket}), query.request.range, as_of=query.as_of)
    return found
