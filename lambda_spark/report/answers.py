"""The answers that the jobs of the batch and the serving layer print, for people or, as JSON and CSV, for programs.

Times in JSON and CSV are ISO 8601 in UTC.
"""

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TextIO, TypeAlias

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console
from rich.text import Text

from lambda_spark.batch.trends import best_trends
from lambda_spark.delta import commits, tables
from lambda_spark.delta.coverage import count_between
from lambda_spark.delta.maintenance import MaintenanceResult
from lambda_spark.delta.tables import RECOMMENDATIONS, USER_BRANDS
from lambda_spark.events import parsing
from lambda_spark.kafka import source
from lambda_spark.replay.reject_replay import RejectCounts
from lambda_spark.report import console, words
from lambda_spark.report.console import make_console
from lambda_spark.report.terminal import left, print_table, record_columns, right, sample, say
from lambda_spark.schemas import RECOMMENDATION_COLUMNS, Offsets, Row
from lambda_spark.serving.recommender import Result
from lambda_spark.serving.snapshot import Boundary, boundary_of, open_snapshot
from lambda_spark.serving.verification import Difference
from lambda_spark.settings import BrandSettings, KafkaSettings, TrendSettings
from lambda_spark.speed.streams import BatchListener
from lambda_spark.time_ranges import Request

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


TRENDS_SHOWN = 20
USERS_SHOWN = 5

_REALTIME_REMEDY = (
    "the realtime view has rows that do not follow from the events. Stop jobs/speed_stream.py, delete recent_brands, "
    "and start it again: it reads the topic from its beginning."
)


def print_trends(root: str, request: Request, settings: TrendSettings) -> None:
    """Print the best of the stored trends of a window."""
    out = console.make_console()
    console.print_notes(out, request.notes)
    console.print_trends(out, best_trends(root, request, TRENDS_SHOWN), settings.count_by, settings.min_events)
    _print_reach(out, boundary_of(root, open_snapshot(root)))


def print_brands(root: str, settings: BrandSettings) -> None:
    """Print the stored brands of some users."""
    some = tables.query(root, USER_BRANDS, f"SELECT * FROM user_brands LIMIT {USERS_SHOWN}")
    console.print_brands(console.make_console(), some, settings.limit)


def print_recommendations(spark: SparkSession, root: str, result: Result, output: str) -> None:
    """Print recommendations by user and rank: as a table those of the first users, as json or csv all."""
    if output == "table":
        _print_table(root, result)
        return
    rows: Iterable[Row] | None = result.rows
    if rows is None:
        stored = commits.read(spark, root, RECOMMENDATIONS).where(result.query.where())
        rows = stored.orderBy("user_id", "rank").toLocalIterator()
    write = {"json": write_json, "csv": write_csv}[output]
    write(rows, {"as_of": result.query.as_of, **result.upto._asdict()}, sys.stdout)


def first_recommendations(root: str, result: Result, users: int, order: str) -> list[Row]:
    """Read the stored recommendations of the first users in an SQL order, by user and rank."""
    where = result.query.where()
    shown = f"SELECT user_id FROM recommendations WHERE {where} GROUP BY user_id ORDER BY {order} LIMIT {users}"
    sql = f"SELECT * FROM recommendations WHERE {where} AND user_id IN ({shown}) ORDER BY user_id, rank"
    return list(tables.query(root, RECOMMENDATIONS, sql))


def write_json(rows: Iterable[Row], extra: Mapping[str, object], stream: TextIO) -> None:
    """Write a JSON array with an object per line: a row's columns, then `extra`; NULL is null."""
    lines = (json.dumps(_values(row, extra), ensure_ascii=False) for row in rows)
    stream.write("[\n" + ",\n".join(lines) + "\n]\n")


def write_csv(rows: Iterable[Row], extra: Mapping[str, object], stream: TextIO) -> None:
    """Write CSV with a header: a row's columns, then `extra`; NULL is an empty field, a boolean is true or false."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*RECOMMENDATION_COLUMNS, *extra])
    for row in rows:
        values = _values(row, extra).values()
        writer.writerow(str(value).lower() if isinstance(value, bool) else value for value in values)


def print_differences(found: Sequence[Difference]) -> int:
    """Print whether two ways to the same rows agree; return the exit code, 0 if all do and else 1."""
    out = console.make_console()
    for difference in found:
        print_difference(out, difference)
    return int(not all(difference.is_none for difference in found))


def print_difference(out: Console, difference: Difference) -> None:
    """Print whether both ways to the rows agree and, if not, rows that only one of them gave."""
    compared = f"{difference.what}: {difference.row_count:,} rows"
    if difference.is_none:
        out.print(Text.assemble(("✓ ", "bold green"), f"{compared} are equal."))
        return
    out.print(Text.assemble(("✗ ", "bold red"), f"{compared}, not all equal."))
    for way, rows in zip(difference.ways, difference.only, strict=True):
        print_table(out, f"Only {way}" if rows else f"Only {way}: no rows", record_columns(rows))


def print_rebuild(found: Sequence[Difference]) -> int:
    """Print the comparisons of a rebuild and its outcome; return the exit code, 1 if nothing was replaced."""
    code = print_differences(found)
    outcome = "Every view is rebuilt." if code == 0 else f"Nothing was replaced: {_REALTIME_REMEDY}"
    console.make_console().print(outcome, soft_wrap=True)
    return code


def print_reject_counts(counts: Sequence[RejectCounts], sent: bool) -> None:
    """Print the counts of rejects by reason, and how many were sent again or could be."""
    out = console.make_console()
    if not counts:
        say(out, "No message of the topic was rejected.")
        return
    columns = [
        left("reason", [each.reason for each in counts]),
        right("rejected", [f"{each.rejected:,}" for each in counts]),
        right("sent before", [f"{each.sent_before:,}" for each in counts]),
        right("sent now" if sent else "would be sent", [f"{each.accepted:,}" for each in counts]),
    ]
    print_table(out, "Rejected messages", columns)
    if not sent and any(each.accepted for each in counts):
        say(out, "Nothing was sent: --send sends them to the topic, each once.")


def print_upkeep(root: str, done: Sequence[MaintenanceResult]) -> None:
    """Print the files compacted and removed, one row per table, and which tables were skipped."""
    out = console.make_console()
    if not done:
        say(out, f"There are no tables in {root} yet.")
        return
    columns = [
        left("table", [each.table.name for each in done]),
        right("files before", [f"{each.before:,}" for each in done]),
        right("files after", [f"{each.after:,}" for each in done]),
        right("removed from disk", [f"{each.removed:,}" for each in done]),
    ]
    print_table(out, f"Tables in {root}", columns)
    if names := ", ".join(each.table.name for each in done if not each.is_done):
        say(out, f"Another job rewrote {names} at the same time and was first: run it again later.")


def _print_table(root: str, result: Result) -> None:
    out = console.make_console()
    console.print_notes(out, result.query.request.notes)
    shown = result.rows if result.rows is not None else first_recommendations(root, result, USERS_SHOWN, "user_id")
    console.print_recommendations(out, shown, as_of=result.query.as_of)
    _print_reach(out, result.upto)
    if result.rows is not None:
        return
    sql = f"SELECT count(DISTINCT user_id) AS user_count FROM recommendations WHERE {result.query.where()}"
    (found,) = tables.query(root, RECOMMENDATIONS, sql)
    if found.user_count > USERS_SHOWN:
        out.print(f"{USERS_SHOWN} of {found.user_count:,} users; --user ID shows others, --format csv all.")


def _print_reach(out: Console, upto: Boundary) -> None:
    out.print(Text(words.reach(*upto), style="dim"), soft_wrap=True)


def _values(row: Row, extra: Mapping[str, object]) -> dict[str, object]:
    values = {**{name: getattr(row, name) for name in RECOMMENDATION_COLUMNS}, **extra}
    return {name: words.iso(value) if isinstance(value, datetime) else value for name, value in values.items()}
