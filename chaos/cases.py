"""The tests that show what a fault does, each marked with the fault's name, and what came of them.

As a script of spark-submit it runs those below a folder and writes what came of them into a file.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from lambda_spark.delta.session import get_spark
from lambda_spark.local.install import spark_submit
from lambda_spark.settings import PROJECT_ROOT


class Case(NamedTuple):
    """A test, the fault that it is about, and how it ended: `passed`, `failed` or `skipped`."""

    test: str
    fault: str
    ended: str


class _Cases:
    """A plugin of pytest that keeps how each test ended."""

    def __init__(self) -> None:
        self._faults: dict[str, str] = {}
        self._ended: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            marker = item.get_closest_marker("fault")
            if marker:
                self._faults[item.nodeid] = marker.args[0]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Of set-up, test and tear-down, the first that does not pass says it.
        if self._ended.get(report.nodeid, "passed") == "passed":
            self._ended[report.nodeid] = report.outcome

    def cases(self) -> list[Case]:
        return [Case(test, self._faults[test], ended) for test, ended in self._ended.items()]


def submit_cases(tests: Path, folder: Path) -> list[Case]:
    """Run those below a folder in a process that spark-submit starts; return none where that writes no result."""
    found = folder / "cases.json"
    subprocess.run([spark_submit(), __file__, str(tests), str(found)], cwd=PROJECT_ROOT, check=False)
    return [Case(*each) for each in json.loads(found.read_text())] if found.exists() else []


def run_cases(tests: Path) -> list[Case]:
    """Run them in this process, as pytest shows it, with the long ones that `make test` leaves out."""
    plugin = _Cases()
    pytest.main([str(tests), "-m", "fault", "-p", "no:cacheprovider"], plugins=[plugin])
    return plugin.cases()


def _forget_submission() -> None:
    """Leave nothing of spark-submit in the environment: what the tests start is to start a Spark of its own."""
    for name in [name for name in os.environ if name.startswith(("SPARK_", "PYSPARK_", "PYTHONPATH"))]:
        del os.environ[name]


if __name__ == "__main__":
    get_spark("cases")  # the tests go on with it
    _forget_submission()
    Path(sys.argv[2]).write_text(json.dumps(run_cases(Path(sys.argv[1]))))
