"""`make month`: a month of a shop as large as that of REES46, written by Spark, one event file a day."""

import argparse
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from lambda_spark import cli
from lambda_spark.errors import EventFileError
from lambda_spark.progress import progress_bar
from lambda_spark.session import get_spark
from lambda_spark.synthetic import day_file, generate_day, write_events
from lambda_spark.synthetic_shop import DAYS
from lambda_spark.synthetic_visits import events_by_day

FULL_MONTH = 67_500_000
_SEED = 7
_FEWEST = 10_000
_SECONDS_PER_LOOK = 0.5


def main() -> None:
    """Parse the options and write the month."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=FULL_MONTH, help=f"how many (default: {FULL_MONTH:,})")
    cli.add_table_options(options)
    args = options.parse_args()
    if args.events < _FEWEST:
        options.error(f"{args.events} events are no month of a shop: ask for {_FEWEST:,} or more.")
    folder = cli.load(args).local_root / "month"
    with progress_bar("Generating") as on_progress:
        write_full_month(get_spark("month"), folder, args.events, on_progress)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{args.events:,} events in {DAYS} files, {size / 1e9:.1f} GB: {folder}")


def write_full_month(spark: SparkSession, folder: Path, events: int, on_progress: Callable[[int, int], None]) -> None:
    """Write the days of `synthetic.generate_day` as event files; `folder` is there in full or not at all.

    The files are the same whatever the number of cores. Raises EventFileError where there is such a folder.
    """
    if folder.exists():
        raise EventFileError(f"There is a month in {folder} already: remove that folder to generate another.")
    unfinished = folder.with_name(folder.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)

    def write_days(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for day in batch["id"].to_pylist():
                write_events(unfinished / day_file(day), generate_day(_SEED, events, day))
            yield batch

    tasks = spark.range(0, DAYS, numPartitions=DAYS).mapInArrow(write_days, "id bigint")
    sizes = [int(size) for size in events_by_day(events)]
    with ThreadPoolExecutor(1) as driver:
        writing = driver.submit(tasks.collect)
        while wait([writing], _SECONDS_PER_LOOK).not_done:
            on_progress(sum(sizes[day] for day in range(DAYS) if (unfinished / day_file(day)).exists()), events)
        writing.result()
    unfinished.replace(folder)


if __name__ == "__main__":
    cli.run(main)
