"""The tests that show what a fault does, each marked with the fault's name, and what came of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest


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


def run_cases(tests: Path) -> list[Case]:
    """Run those below a folder, as pytest shows it, with the long ones that `make test` leaves out."""
    plugin = _Cases()
    pytest.main([str(tests), "-m", "fault", "-p", "no:cacheprovider"], plugins=[plugin])
    return plugin.cases()
