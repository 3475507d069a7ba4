"""Both layers: whether the views hold, row by row, what the events alone say; the exit code is 1 where they do not."""

import sys

from lambda_spark import answers, cli, identity, identity_results
from lambda_spark.session import get_spark


def main() -> None:
    """Parse the options and run the job."""
    options = cli.parser(__doc__)
    cli.add_table_options(options)
    args = options.parse_args()
    settings = cli.load(args)
    found = identity.check_identity(get_spark("identity"), settings)
    identity_results.write_result(settings.local_root, found)
    sys.exit(answers.print_differences(found))


if __name__ == "__main__":
    cli.run(main)
