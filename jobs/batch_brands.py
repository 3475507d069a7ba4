"""Batch layer: the master dataset -> `user_brands`, everybody's recent brands, from what is new."""

from lambda_spark import cli, console, pipelines
from lambda_spark.session import get_spark


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__)
    cli.add_table_options(options)
    options.add_argument("--rebuild", action="store_true", help="compute the view from the first event on")
    args = options.parse_args()
    settings = cli.load(args)
    brands = pipelines.batch_brands(get_spark("batch-brands"), settings, args.rebuild)
    console.print_brands(console.make_console(), brands.limit(5).collect(), settings.brands.limit)


if __name__ == "__main__":
    cli.run(main)
