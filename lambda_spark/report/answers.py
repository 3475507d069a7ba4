"""What the jobs of the batch and the serving layer print: the answer to a request, as much as a person can read.

Recommendations for other programs: JSON and CSV, one recommendation a line, times in ISO 8601 UTC.

`--show`: samples of the data as it is transformed, printed per micro-batch or, for the batch layer, per table.
"""

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TextIO

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
from lambda_spark.report.console import make_console, print_batch
from lambda_spark.report.terminal import left, print_table, right, sample, say
from lambda_spark.report.words import iso
from lambda_spark.schemas import RECOMMENDATION_COLUMNS, Offsets, Row
from lambda_spark.serving.recommender import Result
from lambda_spark.serving.snapshot import Boundary, boundary_of, open_snapshot
from lambda_spark.serving.verification import Difference
from lambda_spark.settings import BrandSettings, KafkaSettings, TrendSettings
from lambda_spark.speed.streams import BatchListener
from lambda_spark.time_ranges import Request


def print_difference(console: Console, difference: Difference) -> None:
    """Print whether both ways agree, and where not, rows that only one of them gave."""
    compared = f"{difference.what}: {difference.row_count:,} rows"
    if difference.is_none:
        console.print(Text.assemble(("✓ ", "bold green"), f"{compared} are equal."))
        return
    console.print(Text.assemble(("✗ ", "bold red"), f"{compared}, not all equal."))
    for way, rows in zip(difference.ways, difference.only, strict=True):
        names = list(rows[0]) if rows else []
        columns = [left(name, [sample(row[name]) for row in rows], is_flexible=True) for name in names]
        print_table(console, f"Only {way}" if rows else f"Only {way}: no rows", columns)


TRENDS_SHOWN = 20
USERS_SHOWN = 5

_REALTIME_REMEDY = (
    "the realtime view tells what the events do not. Stop jobs/speed_stream.py, delete recent_brands, "
    "and start it again: it reads the topic anew."
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


def print_recommendations(spark: SparkSession, root: str, answer: Result, output: str) -> None:
    """Print recommendations by user and rank: as a table those of the first users, as json or csv all of them."""
    if output == "table":
        _print_table(root, answer)
        return
    rows: Iterable[Row] | None = answer.rows
    if rows is None:
        stored = commits.read(spark, root, RECOMMENDATIONS).where(answer.query.where())
        rows = stored.orderBy("user_id", "rank").toLocalIterator()
    write = {"json": write_json, "csv": write_csv}[output]
    write(rows, {"as_of": answer.query.as_of, **answer.upto._asdict()}, sys.stdout)


def first_recommendations(root: str, answer: Result, users: int, order: str) -> list[Row]:
    """Read the recommendations of so many users, those that come first in the SQL order, by user and rank."""
    where = answer.query.where()
    shown = f"SELECT user_id FROM recommendations WHERE {where} GROUP BY user_id ORDER BY {order} LIMIT {users}"
    sql = f"SELECT * FROM recommendations WHERE {where} AND user_id IN ({shown}) ORDER BY user_id, rank"
    return list(tables.query(root, RECOMMENDATIONS, sql))


def print_differences(found: Sequence[Difference]) -> int:
    """Print whether two ways to the same rows agree; return the exit code, 0 where all do and else 1."""
    out = console.make_console()
    for difference in found:
        print_difference(out, difference)
    return int(not all(difference.is_none for difference in found))


def print_rebuild(found: Sequence[Difference]) -> int:
    """Print what a rebuild compared and what became of it; return the exit code, 1 where nothing was replaced."""
    code = print_differences(found)
    done = "Every view is computed anew." if code == 0 else f"Nothing was replaced: {_REALTIME_REMEDY}"
    console.make_console().print(done, soft_wrap=True)
    return code


def print_reject_counts(counts: Sequence[RejectCounts], sent: bool) -> None:
    """Print what was rejected by reason, and how much of it was sent again or could be."""
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
    """Print what was done, one row per table, and in a sentence what was left."""
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


def _print_reach(out: Console, upto: Boundary) -> None:
    out.print(Text(words.reach(*upto), style="dim"), soft_wrap=True)


def _print_table(root: str, answer: Result) -> None:
    out = console.make_console()
    console.print_notes(out, answer.query.request.notes)
    shown = answer.rows if answer.rows is not None else first_recommendations(root, answer, USERS_SHOWN, "user_id")
    console.print_recommendations(out, shown, as_of=answer.query.as_of)
    _print_reach(out, answer.upto)
    if answer.rows is not None:
        return
    sql = f"SELECT count(DISTINCT user_id) AS user_count FROM recommendations WHERE {answer.query.where()}"
    (found,) = tables.query(root, RECOMMENDATIONS, sql)
    if found.user_count > USERS_SHOWN:
        out.print(f"{USERS_SHOWN} of {found.user_count:,} users; --user ID shows others, --format csv all.")


def write_json(rows: Iterable[Row], told: Mapping[str, object], stream: TextIO) -> None:
    """Write one JSON array of objects, each on a line of its own; an unknown value is null.

    `told` is what each of them says beside its columns.
    """
    lines = (json.dumps(_values(row, told), ensure_ascii=False) for row in rows)
    stream.write("[\n" + ",\n".join(lines) + "\n]\n")


def write_csv(rows: Iterable[Row], told: Mapping[str, object], stream: TextIO) -> None:
    """Write CSV with a header; an unknown value is an empty field, a truth value `true` or `false`."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*RECOMMENDATION_COLUMNS, *told])
    for row in rows:
        values = _values(row, told).values()
        writer.writerow(str(value).lower() if isinstance(value, bool) else value for value in values)


def _values(row: Row, told: Mapping[str, object]) -> dict[str, object]:
    values = {**{name: getattr(row, name) for name in RECOMMENDATION_COLUMNS}, **told}
    return {name: iso(value) if isinstance(value, datetime) else value for name, value in values.items()}


_ROWS = 3
_PARSED = ("event_time", "event_type", "product_id", "brand", "price", "user_id", "reason")


def watch_ingest(spark: SparkSession, kafka: KafkaSettings) -> BatchListener:
    """Return what prints a batch of the ingest: received -> parsed."""

    def watch(_: DataFrame, batch_id: int, start: Offsets, end: Offsets) -> None:
        _print(batch_id, start, end, _stages(spark, kafka, start, end))

    return watch


def watch_speed(spark: SparkSession, kafka: KafkaSettings) -> BatchListener:
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


def _stages(
    spark: SparkSession, kafka: KafkaSettings, start: Offsets, end: Offsets
) -> dict[str, Sequence[Mapping[str, object]]]:
    messages = source.read_messages(spark, kafka, start, end).limit(_ROWS)
    received = messages.select("partition", "offset", F.col("value").cast("string").alias("value"))
    return {"received": _sample(received), "parsed": _sample(parsing.parse_messages(messages).select(*_PARSED))}


def _sample(rows: DataFrame) -> list[dict[str, object]]:
    return [row.asDict() for row in rows.limit(_ROWS).collect()]


def _print(batch_id: int, start: Offsets, end: Offsets, stages: Mapping[str, Sequence[Mapping[str, object]]]) -> None:
    print_batch(make_console(), f"batch {batch_id} · {count_between(start, end):,} messages", stages)
