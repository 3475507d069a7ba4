"""`python -m bench.batch_steps STEP …`: steps of the batch layer, as its jobs run them, one after another in a session.

The data root is that of the settings. Prints the seconds of each step as JSON; the start of the process and of Spark do
not count. The step `window` answers a request for each window in turn, and counts the median.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from pyspark.sql import SparkSession

from lambda_spark import pipelines, trend_views, trend_windows, views
from lambda_spark.activity import counter
from lambda_spark.days import days_held
from lambda_spark.files import find_event_files
from lambda_spark.merged_activity import known_counts
from lambda_spark.session import get_spark
from lambda_spark.settings import Settings, load_settings
from lambda_spark.time_ranges import TimeRange, default_windows

STEPS = ("files", "activity", "window", "windows", "brands", "recommend")

Call = Callable[[], object]


def main() -> None:
    """Parse the options, run the steps, and print their seconds."""
    options = argparse.ArgumentParser(prog="python -m bench.batch_steps", description=__doc__)
    options.add_argument("steps", nargs="+", choices=STEPS)
    options.add_argument("--month", type=Path, help="the event files, for the step `files`")
    args = options.parse_args()
    settings, spark = load_settings(), get_spark("bench")
    spark.range(1).collect()
    print(json.dumps({step: median_seconds(calls(step, spark, settings, args.month)) for step in args.steps}))


def calls(step: str, spark: SparkSession, settings: Settings, month: Path) -> Sequence[Call]:
    """Return what a step does, as its job does it."""
    root, trends = settings.data_root, settings.trends
    if step == "files":
        return [partial(pipelines.ingest_files, spark, settings, find_event_files([month]))]
    if step == "activity":
        return [partial(views.update_product_activity, spark, root)]
    if step == "window":
        known = known_counts(root, None)
        return [
            partial(trend_windows.compute_trends, counter(spark), root, trends, [window], "day", known)
            for window in all_windows(settings)
        ]
    if step == "windows":
        return [partial(trend_views.update_trends, spark, root, trends)]
    if step == "brands":
        return [partial(pipelines.batch_brands, spark, settings)]
    return [partial(pipelines.recommend, spark, settings)]


def all_windows(settings: Settings) -> list[TimeRange]:
    """Return every window of the default length."""
    return default_windows(days_held(settings.data_root), settings.trends.days)


def median_seconds(timed: Iterable[Call]) -> float:
    """Return the median of the seconds that each takes, one after another."""
    seconds = []
    for call in timed:
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return median(seconds)


if __name__ == "__main__":
    main()
