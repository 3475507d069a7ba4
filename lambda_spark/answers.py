"""What the jobs of the batch and the serving layer print: the answer to a request, as much as a person can read."""

import sys

from pyspark.sql import functions as F

from lambda_spark import console, export, tables
from lambda_spark.settings import BrandSettings, TrendSettings
from lambda_spark.tables import USER_BRANDS
from lambda_spark.time_ranges import Request
from lambda_spark.trend_windows import Answer, best_trends

TRENDS_SHOWN = 20
USERS_SHOWN = 5


def print_trends(root: str, request: Request, settings: TrendSettings) -> None:
    """Print the best of the stored trends of a window."""
    out = console.make_console()
    console.print_notes(out, request.notes)
    console.print_trends(out, best_trends(root, request, TRENDS_SHOWN), settings.min_events)


def print_brands(root: str, settings: BrandSettings) -> None:
    """Print the stored brands of some users."""
    some = tables.query(root, USER_BRANDS, f"SELECT * FROM user_brands LIMIT {USERS_SHOWN}")
    console.print_brands(console.make_console(), some, settings.limit)


def print_recommendations(answer: Answer, output: str) -> None:
    """Print recommendations by user and rank: as a table those of the first users, as json or csv all of them."""
    rows = answer.rows.orderBy("user_id", "rank")
    if output == "json":
        export.write_json(rows.toLocalIterator(), sys.stdout)
    elif output == "csv":
        export.write_csv(rows.toLocalIterator(), sys.stdout)
    else:
        _print_table(answer)


def _print_table(answer: Answer) -> None:
    out = console.make_console()
    console.print_notes(out, answer.request.notes)
    users = answer.rows.select("user_id").distinct()
    shown = [row.user_id for row in users.orderBy("user_id").limit(USERS_SHOWN).collect()]
    rows = answer.rows.where(F.col("user_id").isin(*shown)).orderBy("user_id", "rank")
    console.print_recommendations(out, rows.collect() if shown else [])
    if (count := users.count()) > len(shown):
        out.print(f"{len(shown)} of {count:,} users; --user ID shows others, --format csv all.")
