"""Event files -> the topic, each line once: an interrupted replay resumes where it stopped."""

from pathlib import Path

from lambda_spark import cli
from lambda_spark.events.event_files import find_event_files
from lambda_spark.replay.replay import replay
from lambda_spark.report.terminal import progress_bar


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__, cli.add_topic_options)
    options.add_argument("files", nargs="+", type=Path, help="csv or csv.gz files, or folders of them")
    options.add_argument("--speed", type=float, metavar="N", help="N times event time (default: as fast as possible)")
    options.add_argument("--limit", type=int, metavar="N", help="only the first N records of the files")
    options.add_argument("--bulk", action="store_true", help="send with Spark, several times as fast; whole files only")
    args = options.parse_args()
    if args.bulk and (args.speed, args.limit) != (None, None):
        options.error("--bulk sends whole files as fast as it can: leave out --speed and --limit")
    kafka, files = cli.load(args).kafka, find_event_files(args.files)
    with progress_bar("Replaying") as on_progress:
        if args.bulk:
            from lambda_spark.delta.session import get_spark  # only here, since loading Spark takes a second
            from lambda_spark.replay.bulk_replay import bulk_replay

            done = bulk_replay(get_spark("replay-events"), kafka, files, on_progress)
        else:
            done = replay(kafka, files, speed=args.speed, limit=args.limit, on_progress=on_progress)
    print(done.sentence(kafka.topic))


if __name__ == "__main__":
    cli.run(main)
