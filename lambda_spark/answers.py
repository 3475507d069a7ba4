"""What the jobs of the batch and the serving layer print: the answer to a request, as much as a person can read."""

import sys

from pyspark.sql import SparkSession

from lambda_spark import console, export, tables
from lambda_spark.settings import BrandSettings, TrendSettings
from lambda_spark.tables import RECOMMENDATIONS, USER_BRANDS
from lambda_spark.time_ranges import Request
from lambda_spark.trend_windows import Answer, best_trends
from lambda_spark.words import Row

TRENDS_SHOWN = 20
USERS_SHOWN = 5


def print_trends(root: str, request: Request, settings: TrendSettings) -> None:
    """Print the best of the stored trends of a window."""
    out = console.make_console()
    console.print_notes(out, request.notes)
    console.print_trends(out, best_trends(root, request, TRENDS_SHOWN), settings.count_by, settings.min_events)


def print_brands(root: str, settings: BrandSettings) -> None:
    """Print the stored brands of some users."""
    some = tables.query(root, USER_BRANDS, f"SELECT * FROM user_brands LIMIT {USERS_SHOWN}")
    console.print_brands(console.make_console(), some, settings.limit)


def print_recommendations(spark: SparkSession, root: str, answer: Answer, output: str) -> None:
    """Print recommendations by user and rank: as a table those of the first users, as json or csv all of them."""
    if output == "table":
        _print_table(root, answer)
        return
    rows = tables.read(spark, root, RECOMMENDATIONS).where(answer.where).orderBy("user_id", "rank")
    write = {"json": export.write_json, "csv": export.write_csv}[output]
    write(rows.toLocalIterator(), sys.stdout)


def first_recommendations(root: str, answer: Answer, users: int, order: str) -> list[Row]:
    """Read the recommendations of so many users, those that come first in the SQL order, by user and rank."""
    shown = f"SELECT user_id FROM recommendations WHERE {answer.where} GROUP BY user_id ORDER BY {order} LIMIT {users}"
    sql = f"SELECT * FROM recommendations WHERE {answer.where} AND user_id IN ({shown}) ORDER BY user_id, rank"
    return list(tables.query(root, RECOMMENDATIONS, sql))


def _print_table(root: str, answer: Answer) -> None:
    out = console.make_console()
    console.print_notes(out, answer.request.notes)
    console.print_recommendations(out, first_recommendations(root, answer, USERS_SHOWN, "user_id"))
    sql = f"SELECT count(DISTINCT user_id) AS user_count FROM recommendations WHERE {answer.where}"
    (found,) = tables.query(root, RECOMMENDATIONS, sql)
    if found.user_count > USERS_SHOWN:
        out.print(f"{USERS_SHOWN} of {found.user_count:,} users; --user ID shows others, --format csv all.")
