"""Evaluation: how good the answers are, with figures and their intervals."""

from lambda_spark import cli
from lambda_spark.evaluation import recommendation_report


def main() -> None:
    """Parse the options and run the evaluation that is named."""
    options = cli.parser(__doc__)
    kinds = options.add_subparsers(required=True, metavar="WHAT")
    recommendation_report.add_options(kinds)
    args = options.parse_args()
    args.run(args)


if __name__ == "__main__":
    cli.run(main)
