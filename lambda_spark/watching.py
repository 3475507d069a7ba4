"""`--show`: samples of the data as it is transformed, printed per micro-batch or, for the batch layer, per table."""

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import events, kafka_source, spark_tables, tables
from lambda_spark.checkpoints import Offsets, count_between
from lambda_spark.console import make_console, print_batch
from lambda_spark.kafka_settings import KafkaSettings
from lambda_spark.streams import Watch

_ROWS = 3
_PARSED = ("event_time", "event_type", "product_id", "brand", "price", "user_id", "reason")


def watch_ingest(spark: SparkSession, kafka: KafkaSettings) -> Watch:
    """Return what prints a batch of the ingest: received -> parsed."""

    def watch(_: DataFrame, batch_id: int, start: Offsets, end: Offsets) -> None:
        _print(batch_id, start, end, _stages(spark, kafka, start, end))

    return watch


def watch_speed(spark: SparkSession, kafka: KafkaSettings) -> Watch:
    """Return what prints a batch of the speed layer: received -> parsed -> state."""

    def watch(lists: DataFrame, batch_id: int, start: Offsets, end: Offsets) -> None:
        shown = F.transform("brands", lambda item: item["brand"])
        stages = _stages(spark, kafka, start, end)
        same_users = lists.where(F.col("user_id").isin([row["user_id"] for row in stages["parsed"]]))
        newest = same_users.select(
            "user_id", F.size("brands").alias("count"), F.array_join(shown, ", ").alias("brands")
        )
        _print(batch_id, start, end, {**stages, "state: recent brands of these users": _sample(newest)})

    return watch


def show_batch(spark: SparkSession, root: str) -> None:
    """Print what the trends are made of: events -> product_activity -> buckets."""
    activity = spark_tables.read(spark, root, tables.PRODUCT_ACTIVITY).orderBy(
        F.desc("event_date"), F.desc("event_count")
    )
    counts = F.array_join(F.transform("buckets", lambda bucket: bucket["event_count"].cast("long")), " ")
    trends = spark_tables.read(spark, root, tables.TRENDS).orderBy(F.desc("window_to"), "rank")
    stages = {
        "events": _sample(spark_tables.read(spark, root, tables.EVENTS).select(*_PARSED[:-1])),
        "product_activity": _sample(activity.select("event_date", "product_id", "brand", "event_count", "user_count")),
        "buckets": _sample(
            trends.select("window_from", "window_to", "product_id", counts.alias("counts"), "trend_score")
        ),
    }
    print_batch(make_console(), "batch layer", stages)


def _stages(
    spark: SparkSession, kafka: KafkaSettings, start: Offsets, end: Offsets
) -> dict[str, Sequence[Mapping[str, object]]]:
    messages = kafka_source.read_messages(spark, kafka, start, end).limit(_ROWS)
    received = messages.select("partition", "offset", F.col("value").cast("string").alias("value"))
    return {"received": _sample(received), "parsed": _sample(events.parse_messages(messages).select(*_PARSED))}


def _sample(rows: DataFrame) -> list[dict[str, object]]:
    return [row.asDict() for row in rows.limit(_ROWS).collect()]


def _print(batch_id: int, start: Offsets, end: Offsets, stages: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
    print_batch(make_console(), f"batch {batch_id} · {count_between(start, end):,} messages", stages)
