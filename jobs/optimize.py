"""All tables: compact small files and remove files that no reader needs any more; the streams continue to write."""

from lambda_spark import cli
from lambda_spark.delta import maintenance
from lambda_spark.report import answers


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__, cli.add_table_options)
    root = cli.load(options.parse_args()).data_root
    answers.print_upkeep(root, maintenance.optimize(root))


if __name__ == "__main__":
    cli.run(main)
