"""Batch layer: the master dataset -> `user_brands`, the recent brands of all users, from the new events."""

from lambda_spark import cli, pipelines
from lambda_spark.delta.session import get_spark
from lambda_spark.report import answers


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__, cli.add_table_options)
    options.add_argument("--rebuild", action="store_true", help="compute the view from all events")
    args = options.parse_args()
    settings = cli.load(args)
    pipelines.batch_brands(get_spark("batch-brands"), settings, args.rebuild)
    answers.print_brands(settings.data_root, settings.brands)


if __name__ == "__main__":
    cli.run(main)
