"""Batch layer: rebuild every view from the master dataset; readers see them only once all are complete and agree."""

import sys

from lambda_spark import cli, pipelines
from lambda_spark.delta.session import get_spark
from lambda_spark.report import answers


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__, cli.add_table_options)
    args = options.parse_args()
    settings = cli.load(args)
    sys.exit(answers.print_rebuild(pipelines.rebuild(get_spark("rebuild"), settings)))


if __name__ == "__main__":
    cli.run(main)
