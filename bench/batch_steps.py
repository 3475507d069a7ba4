"""`python -m bench.batch_steps STEP …`: steps of the batch layer, as its jobs run them, one after another in a session.

The data root is that of the settings. Prints the seconds of each step as JSON, without the start of the process and of
Spark. The step `window` answers a request for each window in turn, and counts the median; `--without-spark` answers it
from `product_activity` alone.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.batch import bucket_counts, product_activity, trends
from lambda_spark.batch.bucket_counts import open_counts, spark_counter
from lambda_spark.delta import tables
from lambda_spark.delta.event_log import event_days
from lambda_spark.delta.session import get_spark
from lambda_spark.events.event_files import find_event_files
from lambda_spark.settings import Settings, load_settings
from lambda_spark.time_ranges import DAY, TimeRange, default_windows
from lambda_spark.trends import score
from lambda_spark.trends.windows import columns_read

STEPS = ("files", "activity", "window", "windows", "brands", "recommend")

Call = Callable[[], object]


def main() -> None:
    """Parse the options, run the steps, and print their seconds."""
    options = argparse.ArgumentParser(prog="python -m bench.batch_steps", description=__doc__)
    options.add_argument("steps", nargs="+", choices=STEPS)
    options.add_argument("--month", type=Path, help="the event files, for the step `files`")
    options.add_argument("--without-spark", action="store_true", help="for the step `window` only")
    args = options.parse_args()
    settings = load_settings()
    if args.without_spark:
        answers = [partial(answer_window, settings, window) for window in all_windows(settings)]
        print(json.dumps({"window": median_seconds(answers)}))
        return
    spark = get_spark("bench")
    spark.range(1).collect()
    print(json.dumps({step: median_seconds(calls(step, spark, settings, args.month)) for step in args.steps}))


def calls(step: str, spark: SparkSession, settings: Settings, month: Path) -> Sequence[Call]:
    """Return the calls of a step, as its job makes them."""
    root, rule = settings.data_root, settings.trends
    if step == "files":
        return [partial(pipelines.ingest_files, spark, settings, find_event_files([month]))]
    if step == "activity":
        return [partial(product_activity.update_product_activity, spark, root)]
    if step == "window":
        known = open_counts(root)
        return [
            partial(trends.compute_trends, spark_counter(spark), root, rule, [window], "day", known)
            for window in all_windows(settings)
        ]
    if step == "windows":
        return [partial(trends.update_trends, spark, root, rule)]
    if step == "brands":
        return [partial(pipelines.batch_brands, spark, settings)]
    return [partial(pipelines.recommend, spark, settings)]


def answer_window(settings: Settings, window: TimeRange) -> None:
    """Compute the trends of a window, without Spark."""
    rule = score.trend_rule(settings.trends)
    view = tables.open_dataset(settings.data_root, tables.PRODUCT_ACTIVITY)
    counts = bucket_counts.daily_counts(view, window, columns_read(rule.weights))
    score.trends(counts, window, DAY, "day", rule)


def all_windows(settings: Settings) -> list[TimeRange]:
    """Return every window of the default length."""
    return default_windows(event_days(settings.data_root), settings.trends.days)


def median_seconds(timed: Iterable[Call]) -> float:
    """Return the median of the seconds of the calls, one after another."""
    seconds = []
    for call in timed:
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return median(seconds)


if __name__ == "__main__":
    main()
