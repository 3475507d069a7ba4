"""Both layers: compare every view, row by row, with one computed from the events alone; exit code 1 if they differ."""

import sys

from lambda_spark import cli
from lambda_spark.delta.session import get_spark
from lambda_spark.report import answers
from lambda_spark.serving import verification
from lambda_spark.serving.identity_result import write_identity_result


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__, cli.add_table_options)
    args = options.parse_args()
    settings = cli.load(args)
    found = verification.check_identity(get_spark("identity"), settings)
    write_identity_result(settings.local_root, found)
    sys.exit(answers.print_differences(found))


if __name__ == "__main__":
    cli.run(main)
