"""Batch layer: the topic, or event files, -> the master dataset `events`, and `rejected_events`, exactly once."""

from pathlib import Path

from lambda_spark import cli, pipelines
from lambda_spark.delta.session import get_spark
from lambda_spark.events.event_files import find_event_files
from lambda_spark.report import answers, console


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__, cli.add_table_options, cli.add_topic_options, cli.add_stream_options)
    options.add_argument("files", nargs="*", type=Path, help="event files or folders to store without Kafka")
    args = options.parse_args()
    settings, files, spark = cli.load(args), find_event_files(args.files), get_spark("ingest-events")
    watch = answers.watch_ingest(spark, settings.kafka) if args.show else None
    if files:
        counts = pipelines.ingest_files(spark, settings, files)
    else:
        counts = pipelines.ingest_topic(spark, settings, args.available_now, watch, args.rebuild_from_master)
    console.print_counts(console.make_console(), counts)


if __name__ == "__main__":
    cli.run(main)
