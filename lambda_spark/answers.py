"""What the jobs of the batch and the serving layer print: the answer to a request, as much as a person can read."""

import sys
from collections.abc import Sequence

from pyspark.sql import SparkSession
from rich.console import Console
from rich.text import Text

from lambda_spark import console, export, queries, spark_tables, words
from lambda_spark.differences import Difference, print_difference
from lambda_spark.known_days import Boundary, boundary
from lambda_spark.known_events import open_live
from lambda_spark.maintenance import Upkeep
from lambda_spark.merged_activity import known_counts
from lambda_spark.reject_replay import RejectCounts
from lambda_spark.serving import Answer
from lambda_spark.settings import BrandSettings, TrendSettings
from lambda_spark.tables import RECOMMENDATIONS, USER_BRANDS
from lambda_spark.terminal import left, print_table, right, say
from lambda_spark.time_ranges import Request
from lambda_spark.trend_windows import best_trends
from lambda_spark.words import Row

TRENDS_SHOWN = 20
USERS_SHOWN = 5

_REALTIME_REMEDY = (
    "the realtime view tells what the events do not. Stop jobs/speed_stream.py, delete recent_brands and "
    "live_activity, and start it again: it reads the topic anew."
)


def print_trends(root: str, request: Request, settings: TrendSettings) -> None:
    """Print the best of the stored trends of a window."""
    out = console.make_console()
    console.print_notes(out, request.notes)
    console.print_trends(out, best_trends(root, request, TRENDS_SHOWN), settings.count_by, settings.min_events)
    _print_reach(out, boundary(root, known_counts(root, open_live(root)).events))


def print_brands(root: str, settings: BrandSettings) -> None:
    """Print the stored brands of some users."""
    some = queries.query(root, USER_BRANDS, f"SELECT * FROM user_brands LIMIT {USERS_SHOWN}")
    console.print_brands(console.make_console(), some, settings.limit)


def print_recommendations(spark: SparkSession, root: str, answer: Answer, output: str) -> None:
    """Print recommendations by user and rank: as a table those of the first users, as json or csv all of them."""
    if output == "table":
        _print_table(root, answer)
        return
    rows = spark_tables.read(spark, root, RECOMMENDATIONS).where(answer.where).orderBy("user_id", "rank")
    write = {"json": export.write_json, "csv": export.write_csv}[output]
    write(rows.toLocalIterator(), {"as_of": answer.question.as_of, **answer.upto._asdict()}, sys.stdout)


def first_recommendations(root: str, answer: Answer, users: int, order: str) -> list[Row]:
    """Read the recommendations of so many users, those that come first in the SQL order, by user and rank."""
    shown = f"SELECT user_id FROM recommendations WHERE {answer.where} GROUP BY user_id ORDER BY {order} LIMIT {users}"
    sql = f"SELECT * FROM recommendations WHERE {answer.where} AND user_id IN ({shown}) ORDER BY user_id, rank"
    return list(queries.query(root, RECOMMENDATIONS, sql))


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


def print_upkeep(root: str, done: Sequence[Upkeep]) -> None:
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


def _print_table(root: str, answer: Answer) -> None:
    out = console.make_console()
    console.print_notes(out, answer.request.notes)
    shown = first_recommendations(root, answer, USERS_SHOWN, "user_id")
    console.print_recommendations(out, shown, as_of=answer.question.as_of)
    _print_reach(out, answer.upto)
    sql = f"SELECT count(DISTINCT user_id) AS user_count FROM recommendations WHERE {answer.where}"
    (found,) = queries.query(root, RECOMMENDATIONS, sql)
    if found.user_count > USERS_SHOWN:
        out.print(f"{USERS_SHOWN} of {found.user_count:,} users; --user ID shows others, --format csv all.")
