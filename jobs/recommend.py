"""Serving layer: trends ⋈ the merged recent brands -> `recommendations`, for all users or some, in a time range."""

import sys

from lambda_spark import cli, pipelines
from lambda_spark.delta.session import get_spark
from lambda_spark.report import answers
from lambda_spark.time_ranges import parse_instant


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__, cli.add_table_options, cli.add_range_options)
    options.add_argument("--as-of", type=parse_instant, metavar="INSTANT", help="answer as of then (default: --to)")
    options.add_argument("--user", type=int, nargs="+", default=[], metavar="ID", help="only these users")
    options.add_argument("--order", help="relevance (the default) or trend-rank, the rule of the original system")
    options.add_argument("--format", choices=("table", "json", "csv"), default="table", help="how to print the result")
    options.add_argument("--verify", action="store_true", help="compare the stored answer with one from the events")
    args = options.parse_args()
    settings = cli.load(args, trends={"bucket": args.bucket}, recommendations={"order": args.order})
    query = cli.asked_range(args, settings.trends.bucket), args.user, args.as_of
    spark = get_spark("recommend")
    if args.verify:
        sys.exit(answers.print_differences([pipelines.verify(spark, settings, *query)]))
    answers.print_recommendations(spark, settings.data_root, pipelines.recommend(spark, settings, *query), args.format)


if __name__ == "__main__":
    cli.run(main)
