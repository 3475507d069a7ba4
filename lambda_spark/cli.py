"""What the job scripts share: the common options, the settings with these options on top, errors as one sentence."""

import re
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from shutil import disk_usage
from tempfile import gettempdir
from typing import Any, get_args

from lambda_spark.errors import LambdaSparkError, TimeRangeError
from lambda_spark.settings import OnDataLoss, Settings, load_settings
from lambda_spark.time_ranges import TimeRange, check_range, parse_instant

# What an error of ours looks like once it has gone through a Spark task.
_ERROR_IN_TASK = re.compile(r"lambda_spark\.errors\.\w+: (.+)")

# What Python, Java and Rust say of a full disk.
_FULL = "No space left on device"


def parser(doc: str | None) -> ArgumentParser:
    """Return a parser without options; `doc` is the job's docstring."""
    return ArgumentParser(description=doc, formatter_class=RawDescriptionHelpFormatter)


def add_table_options(options: ArgumentParser) -> None:
    """Add --data-root."""
    options.add_argument("--data-root", metavar="DIR", help="where the tables are, a folder or a URI (default: data)")


def add_topic_options(options: ArgumentParser) -> None:
    """Add --bootstrap-servers and --topic."""
    options.add_argument("--bootstrap-servers", metavar="HOST:PORT", help="the Kafka broker (default: 127.0.0.1:9092)")
    options.add_argument("--topic", help="the topic of the events (default: shop-events)")


def add_stream_options(options: ArgumentParser) -> None:
    """Add --available-now, --show, --on-data-loss and --rebuild-from-master."""
    options.add_argument("--available-now", action="store_true", help="end once the topic is read")
    options.add_argument("--show", action="store_true", help="print samples of each micro-batch")
    options.add_argument(
        "--on-data-loss",
        choices=get_args(OnDataLoss),
        help="where the topic has lost messages that were not read: fail, or continue with the oldest (default: fail)",
    )
    options.add_argument(
        "--rebuild-from-master",
        action="store_true",
        help="where the checkpoint is lost: make a new one that goes on from what is stored, the old one is kept aside",
    )


def add_range_options(options: ArgumentParser) -> None:
    """Add --from, --to and --bucket."""
    options.add_argument("--from", dest="start", metavar="INSTANT", help="start of the range, a date or instant in UTC")
    options.add_argument("--to", dest="end", metavar="INSTANT", help="end of the range, not in it any more")
    options.add_argument("--bucket", help="day, hour, or an interval such as '10 minutes' (default: day)")


def asked_range(args: Namespace, bucket: str) -> TimeRange | None:
    """Return the range that was asked for, if any, as whole buckets. Raises TimeRangeError."""
    if args.start is None and args.end is None:
        return None
    if args.start is None or args.end is None:
        raise TimeRangeError("A range needs both --from and --to: name the other one too, or neither for the default.")
    return check_range(TimeRange(parse_instant(args.start), parse_instant(args.end)), bucket)


def asked_moment(text: str | None) -> datetime | None:
    """Return the instant that was given, if any. Raises TimeRangeError."""
    return None if text is None else parse_instant(text)


def load(args: Namespace, **sections: Mapping[str, Any]) -> Settings:
    """Load the settings with the options that were given on top: the common ones, and `sections` as in the file."""
    kafka = {name: getattr(args, name, None) for name in ("bootstrap_servers", "topic", "on_data_loss")}
    given = {name: _without_none(values) for name, values in {"kafka": kafka, **sections}.items()}
    root = getattr(args, "data_root", None)
    return load_settings(**_without_none({"data_root": root}), **{k: v for k, v in given.items() if v})


def run(main: Callable[[], None]) -> None:
    """Run a job's main function; an error of the user's becomes one sentence and exit code 2, Ctrl-C becomes 130."""
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
        # An error of ours that was raised in a Spark task; anything else is a fault and keeps its trace.
        if found := _ERROR_IN_TASK.search(str(error)):
            _fail(found.group(1))
        raise


def _full_disk() -> str:
    options = ArgumentParser(add_help=False)
    add_table_options(options)
    root = load(options.parse_known_args()[0]).data_root
    # Errors say that there is no space, and seldom where.
    folders = [folder for folder in (root, gettempdir()) if Path(folder).exists()]
    fullest = min(folders, key=lambda folder: disk_usage(folder).free)
    return (
        f"The disk of {fullest} is full: make space there and start the job again. What is stored stays whole, and the "
        "job goes on where it was."
    )


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
