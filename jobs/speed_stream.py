"""Speed layer: the topic -> each user's 50 most recent brands as state -> `recent_brands`, in real time."""

from lambda_spark import cli, pipelines
from lambda_spark.delta.event_log import Counts
from lambda_spark.delta.session import get_spark
from lambda_spark.report import answers, console


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__, cli.add_table_options, cli.add_topic_options, cli.add_stream_options)
    args = options.parse_args()
    settings = cli.load(args)
    spark = get_spark("speed-stream")
    watch = answers.watch_speed(spark, settings.kafka) if args.show else None
    received = pipelines.speed_stream(spark, settings, args.available_now, watch, args.rebuild_from_master)
    console.print_counts(console.make_console(), Counts(speed_received=received))


if __name__ == "__main__":
    cli.run(main)
