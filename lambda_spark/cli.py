"""The shared parts of job scripts: common options, settings with these options on top, errors as one sentence."""

import re
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import disk_usage
from tempfile import gettempdir
from typing import Any, get_args

from lambda_spark.errors import LambdaSparkError, TimeRangeError
from lambda_spark.settings import OnDataLoss, Settings, load_settings
from lambda_spark.time_ranges import TimeRange, check_range, parse_instant

# An error of this package as Spark reports it after it was raised in a task.
_ERROR_IN_TASK = re.compile(r"lambda_spark\.errors\.\w+: (.+)")

# The words of Python, Java and Rust for a full disk.
_FULL = "No space left on device"


def parser(doc: str | None, *add_options: Callable[[ArgumentParser], None]) -> ArgumentParser:
    """Return a parser with these common options; `doc` is the job's docstring."""
    options = ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)
    for add in add_options:
        add(options)
    return options


def add_table_options(options: ArgumentParser) -> None:
    """Add --data-root."""
    options.add_argument("--data-root", metavar="DIR", help="folder or URI of the tables (default: data)")


def add_topic_options(options: ArgumentParser) -> None:
    """Add --bootstrap-servers and --topic."""
    options.add_argument("--bootstrap-servers", metavar="HOST:PORT", help="the Kafka broker (default: 127.0.0.1:9092)")
    options.add_argument("--topic", help="the topic of the events (default: shop-events)")


def add_stream_options(options: ArgumentParser) -> None:
    """Add --available-now, --show, --on-data-loss and --rebuild-from-master."""
    options.add_argument("--available-now", action="store_true", help="stop at the end of the topic")
    options.add_argument("--show", action="store_true", help="print samples of each micro-batch")
    options.add_argument(
        "--on-data-loss",
        choices=get_args(OnDataLoss),
        help="if the topic has lost messages that were not read: fail, or continue with the oldest (default: fail)",
    )
    options.add_argument(
        "--rebuild-from-master",
        action="store_true",
        help="if the checkpoint is lost: resume from the tables with a new one, and set the old one aside",
    )


def add_range_options(options: ArgumentParser) -> None:
    """Add --from, --to and --bucket."""
    options.add_argument("--from", dest="start", metavar="INSTANT", help="start of the range, a date or instant in UTC")
    options.add_argument("--to", dest="end", metavar="INSTANT", help="end of the range, exclusive")
    options.add_argument("--bucket", help="day, hour, or an interval such as '10 minutes' (default: day)")


def asked_range(args: Namespace, bucket: str) -> TimeRange | None:
    """Return the range of --from and --to, or None without both.

    Raises TimeRangeError if only one is given or the range is not a whole number of buckets.
    """
    if args.start is None and args.end is None:
        return None
    if args.start is None or args.end is None:
        raise TimeRangeError("A range needs both --from and --to: name the other one too, or neither for the default.")
    return check_range(TimeRange(parse_instant(args.start), parse_instant(args.end)), bucket)


def load(args: Namespace, **sections: Mapping[str, Any]) -> Settings:
    """Load the settings, overridden by the common options and by `sections`, nested as in the file, except for None.

    Raises SettingsError.
    """
    kafka = {name: getattr(args, name, None) for name in ("bootstrap_servers", "topic", "on_data_loss")}
    given = {name: _without_none(values) for name, values in {"kafka": kafka, **sections}.items()}
    root = getattr(args, "data_root", None)
    return load_settings(**_without_none({"data_root": root}), **{k: v for k, v in given.items() if v})


def run(main: Callable[[], None]) -> None:
    """Run a job's main function. An error of the user is printed as one sentence, exit code 2; Ctrl-C is 130."""
    try:
        main()
    except LambdaSparkError as error:
        _fail(str(error))
    except KeyboardInterrupt as stop:
        print(str(stop), end="\n" if str(stop) else "")
        sys.exit(130)
    except Exception as error:
        if _FULL in str(error):
            _fail(_full_disk())
        if "S3AFileSystem not found" in str(error):
            _fail("Spark has no jars for object storage: run `make s3`.")
        # An error of this package that was raised in a task; anything else is a bug and keeps its stack trace.
        if found := _ERROR_IN_TASK.search(str(error)):
            _fail(found.group(1))
        raise


def _full_disk() -> str:
    options = ArgumentParser(add_help=False)
    add_table_options(options)
    root = load(options.parse_known_args()[0]).data_root
    # The error seldom names the disk.
    folders = [folder for folder in (root, gettempdir()) if Path(folder).exists()]
    fullest = min(folders, key=lambda folder: disk_usage(folder).free)
    return (
        f"The disk of {fullest} is full: make space there and start the job again. The stored data is intact, and the "
        "job resumes where it was."
    )


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
