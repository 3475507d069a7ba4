"""`make recommend`: the whole pipeline once, from event files to recommendations; starts a broker if none answers."""

import argparse
import signal
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich.console import Console

from lambda_spark import cli, pipelines
from lambda_spark.batch.trends import best_trends
from lambda_spark.delta import event_log
from lambda_spark.delta.event_log import Counts
from lambda_spark.delta.session import get_spark
from lambda_spark.events.event_files import file_id, find_event_files
from lambda_spark.kafka.client import message_count
from lambda_spark.local.broker import settings_broker
from lambda_spark.local.synthetic import planted_product_ids, write_month
from lambda_spark.replay.replay import replay
from lambda_spark.report import answers, words
from lambda_spark.report.console import make_console, print_summary
from lambda_spark.report.html_report import write_report
from lambda_spark.report.quality import read_quality
from lambda_spark.report.summary import RunSummary
from lambda_spark.report.terminal import progress_bar
from lambda_spark.serving import recommender
from lambda_spark.serving.recommender import Result
from lambda_spark.settings import Settings
from lambda_spark.speed import checkpoints
from lambda_spark.speed.checkpoints import received_count
from lambda_spark.time_ranges import TimeRange

MONTH = "generated-2019-11.csv"
TRENDS_SHOWN, USERS_SHOWN = 15, 3

# A topic takes so much in about a minute: three million events.
TOPIC_BYTES = 500_000_000


def main() -> None:
    """Parse the options and run the pipeline."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", nargs="+", type=Path, help="event files or folders (default: a generated month)")
    cli.add_range_options(options)
    args = options.parse_args()
    settings = cli.load(args, trends={"bucket": args.bucket})
    asked = cli.asked_range(args, settings.trends.bucket)
    # Like Ctrl-C: SIGTERM must stop the broker too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with settings_broker(settings):
        if args.events:
            files = find_event_files(args.events)
            settings = isolated_settings(settings, files)
        else:
            files = [settings.local_root / MONTH]
        run_pipeline(settings, files, asked, make_console())


def isolated_settings(settings: Settings, files: Sequence[Path]) -> Settings:
    """Return settings with a data root and a topic for these files only, so that no other events mix with theirs."""
    content = "".join(file_id(file) for file in files)
    stem = "".join(letter if letter.isalnum() else "-" for letter in files[0].name.split(".")[0])[:60]
    name = f"{stem}-{content[:6]}"
    kafka = settings.kafka.model_copy(update={"topic": f"{settings.kafka.topic}-{name}"})
    return settings.model_copy(update={"data_root": f"{settings.data_root}/runs/{name}", "kafka": kafka})


def divide_history(files: Sequence[Path], topic_bytes: int) -> tuple[Sequence[Path], Sequence[Path]]:
    """Divide files, the newest last, into the history and the newest ones, together at most `topic_bytes`."""
    sizes = accumulate(file.stat().st_size for file in reversed(files))
    newest = sum(size <= topic_bytes for size in sizes)
    return files[: len(files) - newest], files[len(files) - newest :]


def run_pipeline(
    settings: Settings, files: Sequence[Path], asked: TimeRange | None, console: Console, topic_bytes: int = TOPIC_BYTES
) -> None:
    """Run every job once over the files and print the results; a second run finds nothing left to do.

    Files older than the newest `topic_bytes` are history: they go straight into the master dataset.
    """
    seconds: dict[str, float] = {}
    step = partial(_timed_step, console, seconds)
    is_generated = files == [settings.local_root / MONTH]
    if is_generated and not files[0].exists():
        with step("generate a month of events"):
            write_month(files[0])
    with step("start"):
        spark = get_spark("recommend")
    history, newest = divide_history(files, topic_bytes)
    if history:
        with step("history: files to master dataset"):
            pipelines.ingest_files(spark, settings, history)
    with progress_bar("replay") as on_progress, step("replay files into the topic"):
        replay(settings.kafka, newest, on_progress=on_progress)
    sent = message_count(settings.kafka)
    with step("ingest: topic to master dataset"):
        pipelines.ingest_topic(spark, settings, available_now=True)
    with step("batch: trends"):
        pipelines.batch_trends(spark, settings, asked)
    with step("batch: brands of users"):
        pipelines.batch_brands(spark, settings)
    with step("speed: topic to recent brands"):
        pipelines.speed_stream(spark, settings, available_now=True)
    with step("serve: recommendations"):
        recommended = pipelines.recommend(spark, settings, asked)
        brands = recommender.present_brands(spark, settings, recommended.query)
        summary = summarise(settings, recommended, brands, sent, seconds, planted_product_ids() if is_generated else [])
    print_summary(console, summary)
    report = write_report(settings.local_root / "report.html", summary)
    console.print(f"Report with charts: {words.from_here(report)}", soft_wrap=True)


@contextmanager
def _timed_step(console: Console, seconds: dict[str, float], name: str) -> Iterator[None]:
    """Show the name while the block runs, then record and print its seconds."""
    begin = time.monotonic()
    with console.status(f"{name} ..."):
        yield
    seconds[name] = time.monotonic() - begin
    console.print(f"{name:<32}{seconds[name]:6.1f} s")


def summarise(
    settings: Settings,
    recommended: Result,
    brands: DataFrame,
    sent: int,
    seconds: Mapping[str, float],
    planted_ids: Collection[int],
) -> RunSummary:
    """Return the summary of a run: counts, the best trends, and the users with the most recommendations."""
    root = settings.data_root
    stored = event_log.master_dataset_counts(root)
    rows = answers.first_recommendations(root, recommended, USERS_SHOWN, "count(*) DESC, user_id")
    users = list(dict.fromkeys(row.user_id for row in rows))
    return RunSummary(
        counts=Counts(
            sent=sent,
            batch_received=received_count(checkpoints.ingest_checkpoint(root)),
            speed_received=received_count(checkpoints.speed_checkpoint(root)),
            stored=stored.stored,
            rejected=stored.rejected,
            from_files=stored.from_files,
        ),
        window_from=recommended.query.request.range.start,
        window_to=recommended.query.request.range.end,
        bucket=recommended.query.request.bucket,
        count_by=settings.trends.count_by,
        min_events=settings.trends.min_events,
        brand_limit=settings.brands.limit,
        trends=best_trends(root, recommended.query.request, TRENDS_SHOWN),
        brands=brands.where(F.col("user_id").isin(*users)).orderBy("user_id").collect() if users else [],
        recommendations=rows,
        data_root=words.from_here(root),
        planted_ids=frozenset(planted_ids),
        quality=read_quality(settings.local_root),
        notes=(*recommended.query.request.notes, words.reach(*recommended.upto)),
        seconds=seconds,
    )


if __name__ == "__main__":
    cli.run(main)
