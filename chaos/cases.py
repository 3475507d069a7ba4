"""The tests that are marked with a fault, and their results.

As a script of spark-submit it runs those in a folder and writes the results to a file.
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
    """A test, its fault, and its result: `passed`, `failed` or `skipped`."""

    test: str
    fault: str
    result: str


class _Plugin:
    """A plugin of pytest that collects the result of each test."""

    def __init__(self) -> None:
        self._faults: dict[str, str] = {}
        self._results: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            marker = item.get_closest_marker("fault")
            if marker:
                self._faults[item.nodeid] = marker.args[0]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # The result is that of the first of set-up, test and tear-down that does not pass.
        if self._results.get(report.nodeid, "passed") == "passed":
            self._results[report.nodeid] = report.outcome

    def cases(self) -> list[Case]:
        return [Case(test, self._faults[test], result) for test, result in self._results.items()]


def submit_cases(tests: Path, folder: Path) -> list[Case]:
    """Run the tests of a folder in a process of spark-submit; return an empty list if it writes no results."""
    found = folder / "cases.json"
    subprocess.run([spark_submit(), __file__, str(tests), str(found)], cwd=PROJECT_ROOT, check=False)
    return [Case(*each) for each in json.loads(found.read_text())] if found.exists() else []


def run_cases(tests: Path) -> list[Case]:
    """Run the tests in this process, including the long ones."""
    plugin = _Plugin()
    pytest.main([str(tests), "-m", "fault", "-p", "no:cacheprovider"], plugins=[plugin])
    return plugin.cases()


def _forget_submission() -> None:
    """Remove the variables of spark-submit: the processes of the tests must start a separate Spark."""
    for name in [name for name in os.environ if name.startswith(("SPARK_", "PYSPARK_", "PYTHONPATH"))]:
        del os.environ[name]


if __name__ == "__main__":
    get_spark("cases")  # the tests use this session
    _forget_submission()
    Path(sys.argv[2]).write_text(json.dumps(run_cases(Path(sys.argv[1]))))
