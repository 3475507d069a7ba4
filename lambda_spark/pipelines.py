"""The whole story, one function per job: master dataset, batch views, realtime view, serving view."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path

from pyspark.sql import SparkSession

from lambda_spark import schemas
from lambda_spark.batch import product_activity, trends, user_brands
from lambda_spark.delta import commits, coverage, event_log, tables
from lambda_spark.delta.event_log import Counts, event_days
from lambda_spark.delta.parquet_files import as_map_in_arrow, unchanged_rows
from lambda_spark.delta.partitions import WINDOW, window_key
from lambda_spark.delta.tables import EVENTS, LIVE_ACTIVITY, MASTER_DATASET, RECENT_BRANDS, RECOMMENDATIONS
from lambda_spark.events import parsing
from lambda_spark.events.event_files import check_event_file, file_id, plan_ranges
from lambda_spark.history import combining
from lambda_spark.kafka import source
from lambda_spark.kafka.client import broker_monitor
from lambda_spark.serving import recommender, verification
from lambda_spark.serving.recommender import Result
from lambda_spark.serving.verification import Difference
from lambda_spark.settings import Settings
from lambda_spark.speed import checkpoint_rebuild, checkpoints, micro_batches, state, streams
from lambda_spark.speed.checkpoint_guard import guarded_checkpoint
from lambda_spark.speed.streams import BatchListener
from lambda_spark.time_ranges import Request, TimeRange
from lambda_spark.trends import windows

_FILES_AT_A_TIME = 2


def ingest_topic(
    spark: SparkSession,
    settings: Settings,
    available_now: bool,
    watch: BatchListener | None = None,
    rebuild: bool = False,
) -> Counts:
    """Topic -> `events` and `rejected_events`, exactly once. Returns what this run has received and stored.

    With `rebuild` it goes on without its checkpoint, from what the tables hold.
    """
    root, checkpoint = settings.data_root, checkpoints.ingest_checkpoint(settings.data_root)
    seed = partial(checkpoint_rebuild.ingest_start, root, settings.kafka.topic) if rebuild else None
    with guarded_checkpoint(settings.kafka, root, checkpoint, EVENTS, seed):
        commits.create_all(spark, root, MASTER_DATASET)
        before = event_log.master_dataset_counts(root)
        messages = source.stream_messages(spark, settings.kafka, settings.ingest.max_messages_per_trigger)
        store = micro_batches.event_store(settings, checkpoint, watch)
        stream = messages.select(*parsing.MESSAGE_COLUMNS).writeStream.foreachBatch(store)
        trigger, look = None if available_now else settings.ingest.trigger, broker_monitor(settings.kafka)
        received = streams.run_stream(stream, checkpoint, trigger, look)
        return event_log.growth(before, event_log.master_dataset_counts(root), received)


def ingest_files(spark: SparkSession, settings: Settings, files: Sequence[Path]) -> Counts:
    """Event files -> the same tables, without Kafka; a file whose content is there already is passed over.

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

    # While a file is looked through on the driver, the tasks have another to work on.
    with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
        list(pool.map(store, files))
    return event_log.growth(before, event_log.master_dataset_counts(root))


def speed_stream(
    spark: SparkSession,
    settings: Settings,
    available_now: bool,
    watch: BatchListener | None = None,
    rebuild: bool = False,
) -> int:
    """Topic -> state -> `recent_brands`, and `live_activity` beside it, exactly once.

    Returns the number of messages this run has received. With `rebuild` it goes on without its checkpoint, with a new
    state in the place of the old one; raises NotComputedError where there are no events.
    """
    speed, root, checkpoint = settings.speed, settings.data_root, checkpoints.speed_checkpoint(settings.data_root)
    seed = partial(checkpoint_rebuild.speed_start, spark, settings) if rebuild else None
    with guarded_checkpoint(settings.kafka, root, checkpoint, RECENT_BRANDS, seed):
        commits.create(spark, root, LIVE_ACTIVITY, coverage.live_from_now_on(root, settings.kafka.topic))
        commits.create(spark, root, RECENT_BRANDS)
        messages = source.stream_messages(spark, settings.kafka, speed.max_messages_per_trigger)
        # A task costs some 60 ms, however few its messages: no more of them than run at a time.
        few = messages.coalesce(max(speed.state_partitions, spark.sparkContext.defaultParallelism))
        combined = combining.combine_messages(few, speed.shards, settings.brands.event_types)
        updated = state.update_brand_state(combined, settings.brands.limit)
        # The number of state partitions is that of the query's shuffle, and fixed with its first start.
        spark.conf.set("spark.sql.shuffle.partitions", speed.state_partitions)
        append = micro_batches.view_log(spark, settings, checkpoint, watch)
        stream = updated.writeStream.outputMode("update").foreachBatch(append)
        trigger, look = None if available_now else speed.trigger, broker_monitor(settings.kafka)
        return streams.run_stream(stream, checkpoint, trigger, look)


def batch_trends(spark: SparkSession, settings: Settings, asked: TimeRange | None = None) -> Request:
    """Master dataset -> `product_activity` -> `trends` for a range, or for every default window that is not there yet.

    Returns the window that answers what was asked, which is stored now.

    Raises TimeRangeError for a range that cannot be answered, NotComputedError where there are no events.
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

    Raises NotComputedError where there are no events.
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
    """Trends ⋈ recent brands -> `recommendations` for a range; of all users, or of those named; as of a moment.

    Does nothing where the last recommendations were the same ones, by the same rules, from the same events.

    Raises TimeRangeError and NotComputedError as batch_trends does, and UnknownUserError.
    """
    root = settings.data_root
    knowledge = recommender.open_snapshot(root)
    question = recommender.plan_query(settings, knowledge, asked, as_of, users)
    lineage = recommender.lineage_of(settings, question, knowledge)
    if tables.lineage_of(root, RECOMMENDATIONS) != lineage:
        brands, make_rows = recommender.recommended(spark, settings, question, knowledge)
        key = [window_key(question.request.range)]
        if users and tables.exists(root, RECOMMENDATIONS):
            stored = commits.read(spark, root, RECOMMENDATIONS).drop(WINDOW)
            others = stored.where(f"{windows.window_condition(question.request.range)} AND NOT ({question.where()})")
            rows = brands.mapInArrow(as_map_in_arrow(make_rows), schemas.RECOMMENDATIONS).unionByName(others)
            commits.replace(rows, unchanged_rows, root, RECOMMENDATIONS, key, lineage)
        else:
            commits.replace(brands, make_rows, root, RECOMMENDATIONS, key, lineage)
    return recommender.result_of(root, question, knowledge)


def verify(
    spark: SparkSession,
    settings: Settings,
    asked: TimeRange | None = None,
    users: Sequence[int] = (),
    as_of: datetime | None = None,
) -> Difference:
    """Compare what is stored for a question with what the events alone say.

    Raises TimeRangeError and NotComputedError.
    """
    question = recommender.plan_query(settings, recommender.open_snapshot(settings.data_root), asked, as_of, users)
    return verification.verify(spark, settings.data_root, question.where())
