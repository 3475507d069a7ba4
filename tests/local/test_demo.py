"""`make recommend` with more data than a topic should take: history skips the topic, and the results are the same."""

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import NewSettings, contents, shop_days, write_events

from lambda_spark.delta.tables import PRODUCT_ACTIVITY, RECOMMENDATIONS, TRENDS
from lambda_spark.local import demo
from lambda_spark.report.console import make_console
from lambda_spark.settings import Settings

pytestmark = pytest.mark.slow

FIRST, LAST = shop_days(range(1, 9)), shop_days(range(9, 11))
Run = Callable[[int], tuple[Settings, str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("files")
    return [write_events(folder / "first.csv", FIRST), write_events(folder / "last.csv", LAST)]


@pytest.fixture(scope="module")
def run(new_run: NewSettings, files: list[Path]) -> Run:
    """Return a function that runs all jobs with so many bytes in the topic, and returns the settings and the output."""

    def run_pipeline(topic_bytes: int) -> tuple[Settings, str]:
        settings, printed = new_run(trends={"min_events": 1, "smoothing": 1.0}), io.StringIO()
        demo.run_pipeline(settings, files, None, make_console(printed), topic_bytes)
        return settings, printed.getvalue()

    return run_pipeline


@pytest.fixture(scope="module")
def answers(run: Run) -> list[Counter[str]]:
    """Return the views of a run with all events in the topic."""
    settings, printed = run(demo.TOPIC_BYTES)
    assert "History" not in printed
    return views(settings)


def views(settings: Settings) -> list[Counter[str]]:
    return [contents(settings.data_root, table) for table in (PRODUCT_ACTIVITY, TRENDS, RECOMMENDATIONS)]


def test_only_the_newest_files_go_through_the_topic(run: Run, files: list[Path], answers: list[Counter[str]]) -> None:
    settings, printed = run(files[1].stat().st_size)
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    for counted in (f"History from files {len(FIRST)}", f"Received by the speed layer {len(LAST)}"):
        assert counted in lines
    assert f"Stored in the master dataset {len(FIRST + LAST)}" in lines
    assert "✓ Stored and rejected add up to what the batch layer received and the history." in lines
    assert "✗" not in printed
    assert views(settings) == answers


def test_a_file_too_large_for_the_topic_is_history(run: Run, answers: list[Counter[str]]) -> None:
    settings, printed = run(0)
    assert "The speed layer received all 0 messages sent." in printed
    assert views(settings) == answers


def test_files_are_divided_by_the_size_of_the_newest(files: list[Path]) -> None:
    first, last = (file.stat().st_size for file in files)
    assert demo.divide_history(files, first + last) == ([], files)
    assert demo.divide_history(files, first + last - 1) == (files[:1], files[1:])
    assert demo.divide_history(files, last - 1) == (files, [])
