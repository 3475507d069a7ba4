"""Serving layer: trends ⋈ the merged recent brands -> `recommendations`, for a time range, of all users or of some."""

import sys

from lambda_spark import cli, pipelines
from lambda_spark.delta.session import get_spark
from lambda_spark.report import answers


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__)
    cli.add_table_options(options)
    cli.add_range_options(options)
    options.add_argument("--as-of", metavar="INSTANT", help="answer as at that moment (default: the end of the range)")
    options.add_argument("--user", type=int, nargs="+", default=[], metavar="ID", help="only these users")
    options.add_argument("--order", help="which product comes first: relevance (the default) or origin")
    options.add_argument("--format", choices=("table", "json", "csv"), default="table", help="how to print the result")
    options.add_argument("--verify", action="store_true", help="compare what is stored with what the events say")
    args = options.parse_args()
    settings = cli.load(args, trends={"bucket": args.bucket}, recommendations={"order": args.order})
    question = cli.asked_range(args, settings.trends.bucket), args.user, cli.asked_moment(args.as_of)
    spark = get_spark("recommend")
    if args.verify:
        sys.exit(answers.print_differences([pipelines.verify(spark, settings, *question)]))
    answer = pipelines.recommend(spark, settings, *question)
    answers.print_recommendations(spark, settings.data_root, answer, args.format)


if __name__ == "__main__":
    cli.run(main)
