"""Run a job that is killed at its next point: `spark-submit killed_at.py FILE JOB [OPTION ...]`.

Before and after each commit it kills itself and its Java with `kill -9`, unless the file lists that point.
"""

import os
import runpy
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from deltalake import DeltaTable

from lambda_spark.delta import commits
from lambda_spark.delta.tables import Table

SIDES = ("before its commit", "after its commit")


def points(tables: Sequence[Table]) -> list[str]:
    """Return the points at which a job that commits these tables is killed, in order."""
    return [f"{table.name} {side}" for table in tables for side in SIDES]


def main() -> None:
    done, job, commit_files = Path(sys.argv[1]), sys.argv[2], commits.commit_files

    def die_once(point: str) -> None:
        if point not in done.read_text().splitlines():
            with done.open("a") as file:
                file.write(f"{point}\n")
            # The parent is spark-submit, the Java that waits for this process.
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def commit_between(log: DeltaTable, table: Table, *others: object) -> None:
        before, after = points([table])
        die_once(before)
        commit_files(log, table, *others)  # type: ignore[arg-type]
        die_once(after)

    commits.commit_files = commit_between
    sys.argv = [job, *sys.argv[3:]]
    runpy.run_path(job, run_name="__main__")


if __name__ == "__main__":
    main()
