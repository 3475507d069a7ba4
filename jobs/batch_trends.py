"""Batch layer: the master dataset -> `product_activity` -> `trends`, for a range or all missing 7-day windows."""

from lambda_spark import cli, pipelines
from lambda_spark.delta.session import get_spark
from lambda_spark.report import answers


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__, cli.add_table_options, cli.add_range_options)
    options.add_argument("--days", type=int, help="length of the default range in days (default: 7)")
    options.add_argument("--rank-by", help="trend_score (the default), total_pct_increase or events")
    options.add_argument("--top", type=int, help="the most products that a window keeps (default: 1000)")
    options.add_argument("--min-events", type=int, help="rank only products with at least so many events in the range")
    options.add_argument("--show", action="store_true", help="print samples of each step")
    args = options.parse_args()
    names = ("days", "bucket", "rank_by", "top", "min_events")
    settings = cli.load(args, trends={name: getattr(args, name) for name in names})
    asked, spark = cli.asked_range(args, settings.trends.bucket), get_spark("batch-trends")
    request = pipelines.batch_trends(spark, settings, asked)
    if args.show:
        answers.show_batch(spark, settings.data_root)
    answers.print_trends(settings.data_root, request, settings.trends)


if __name__ == "__main__":
    cli.run(main)
