"""`--show`: samples of the data at each stage, printed per micro-batch of a stream or once per batch table."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.text import Text

from lambda_spark.delta import commits, tables
from lambda_spark.delta.coverage import count_between
from lambda_spark.events import parsing
from lambda_spark.kafka import source
from lambda_spark.report.console import make_console
from lambda_spark.report.terminal import left, print_table, record_columns, sample
from lambda_spark.schemas import Offsets
from lambda_spark.settings import KafkaSettings
from lambda_spark.speed.streams import BatchListener

# Rows by stage, such as received, parsed and state; a row maps columns to values.
Stages: TypeAlias = Mapping[str, Sequence[Mapping[str, object]]]

_ROWS = 3
_PARSED = ("event_time", "event_type", "product_id", "brand", "price", "user_id", "reason")
_SAMPLE_WIDTH = 16


def watch_ingest(spark: SparkSession, kafka: KafkaSettings) -> BatchListener:
    """Return a listener that prints samples of each micro-batch of ingest: received -> parsed."""

    def watch(_: DataFrame, batch_id: int, start: Offsets, end: Offsets) -> None:
        _print_micro_batch(batch_id, start, end, _stages(spark, kafka, start, end))

    return watch


def watch_speed(spark: SparkSession, kafka: KafkaSettings) -> BatchListener:
    """Return a listener that prints samples of each micro-batch of the speed layer: received -> parsed -> state."""

    def watch(lists: DataFrame, batch_id: int, start: Offsets, end: Offsets) -> None:
        shown = F.transform("brands", lambda item: item["brand"])
        stages = _stages(spark, kafka, start, end)
        same_users = lists.where(F.col("user_id").isin([row["user_id"] for row in stages["parsed"]]))
        newest = same_users.select(
            "user_id", F.size("brands").alias("count"), F.array_join(shown, ", ").alias("brands")
        )
        _print_micro_batch(batch_id, start, end, {**stages, "state: recent brands of these users": _sample(newest)})

    return watch


def show_batch(spark: SparkSession, root: str) -> None:
    """Print samples of the batch layer: events -> product_activity -> buckets of trends."""
    activity = commits.read(spark, root, tables.PRODUCT_ACTIVITY).orderBy(F.desc("event_date"), F.desc("event_count"))
    counts = F.array_join(F.transform("buckets", lambda bucket: bucket["event_count"].cast("long")), " ")
    trends = commits.read(spark, root, tables.TRENDS).orderBy(F.desc("window_to"), "rank")
    stages = {
        "events": _sample(commits.read(spark, root, tables.EVENTS).select(*_PARSED[:-1])),
        "product_activity": _sample(activity.select("event_date", "product_id", "brand", "event_count", "user_count")),
        "buckets": _sample(
            trends.select("window_from", "window_to", "product_id", counts.alias("counts"), "trend_score")
        ),
    }
    print_batch(make_console(), "batch layer", stages)


def print_batch(console: Console, title: str, stages: Stages) -> None:
    """Print the rows of each stage as a table.

    Rows with many columns are printed downwards, a line per column, so that the values stay readable.
    """
    console.print()
    console.rule(Text(title, style="bold"), align="left", style="dim")
    for stage, rows in stages.items():
        columns = record_columns(rows)
        if len(columns) > console.width // _SAMPLE_WIDTH:
            names = list(rows[0])
            downwards = [left("", [sample(row[name]) for name in names], is_flexible=True) for row in rows]
            columns = [left("", names), *downwards]
        print_table(console, stage if rows else f"{stage}: no rows", columns)


def _print_micro_batch(batch_id: int, start: Offsets, end: Offsets, stages: Stages) -> None:
    print_batch(make_console(), f"batch {batch_id} · {count_between(start, end):,} messages", stages)


def _stages(spark: SparkSession, kafka: KafkaSettings, start: Offsets, end: Offsets) -> Stages:
    messages = source.read_messages(spark, kafka, start, end).limit(_ROWS)
    received = messages.select("partition", "offset", F.col("value").cast("string").alias("value"))
    return {"received": _sample(received), "parsed": _sample(parsing.parse_messages(messages).select(*_PARSED))}


def _sample(rows: DataFrame) -> list[dict[str, object]]:
    return [row.asDict() for row in rows.limit(_ROWS).collect()]
