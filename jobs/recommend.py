"""Serving layer: trends ⋈ the merged recent brands -> `recommendations`, for a time range, of all users or of some."""

from lambda_spark import answers, cli, pipelines
from lambda_spark.session import get_spark


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__)
    cli.add_table_options(options)
    cli.add_range_options(options)
    options.add_argument("--user", type=int, nargs="+", default=[], metavar="ID", help="only these users")
    options.add_argument("--order", help="which product comes first: relevance (the default) or origin")
    options.add_argument("--format", choices=("table", "json", "csv"), default="table", help="how to print the result")
    args = options.parse_args()
    settings = cli.load(args, trends={"bucket": args.bucket}, recommendations={"order": args.order})
    asked = cli.asked_range(args, settings.trends.bucket)
    spark = get_spark("recommend")
    answer = pipelines.recommend(spark, settings, asked, args.user)
    answers.print_recommendations(spark, settings.data_root, answer, args.format)


if __name__ == "__main__":
    cli.run(main)
