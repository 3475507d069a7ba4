"""Evaluation: measure the trend rule and the recommendation rule on data whose future is known."""

from argparse import RawDescriptionHelpFormatter

from lambda_spark import cli
from lambda_spark.evaluation import recommendation_quality, trend_report

PARTS = {
    "trends": trend_report,
    "recommendations": recommendation_quality,
}


def main() -> None:
    """Parse the options and run the requested part."""
    options = cli.parser(__doc__)
    parts = options.add_subparsers(metavar="PART", required=True)
    for name, part in PARTS.items():
        first_line = str(part.__doc__).splitlines()[0]
        kind = parts.add_parser(
            name, help=first_line, description=part.__doc__, formatter_class=RawDescriptionHelpFormatter
        )
        part.add_options(kind)
    args = options.parse_args()
    args.run(args)


if __name__ == "__main__":
    cli.run(main)
