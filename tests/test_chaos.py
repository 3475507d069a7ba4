"""A short campaign of faults against the pipeline as real processes; and differences are reported."""

import io
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from chaos.__main__ import print_outcomes
from chaos.campaign import Round, campaign
from chaos.cases import run_cases
from chaos.outcome import Outcome, differences

pytestmark = pytest.mark.slow

EXPECTED = Outcome(
    {"trends": pa.table({"window_from": [1, 1], "window_to": [8, 8], "product_id": [5, 6]})},
    {1: [("sony", 7)]},
    {"stored and rejected": 9},
)


@pytest.mark.timeout(900)
def test_after_five_kills_every_table_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    rounds = list(campaign(tmp_path, rounds=5, seed=11, events=4_000, say=print))
    assert [each.differences for each in rounds] == [[]] * 5
    assert [each for each in rounds if each.victim is None] == []


def test_windows_of_earlier_batch_jobs_are_ignored() -> None:
    rows = pa.table({"window_from": [0, 1, 1], "window_to": [7, 8, 8], "product_id": [5, 5, 6]})
    assert differences(EXPECTED._replace(rows={"trends": rows}), EXPECTED) == []


def test_missing_and_doubled_rows_are_reported() -> None:
    lost = EXPECTED.rows["trends"].slice(1)
    assert differences(EXPECTED._replace(rows={"trends": lost}), EXPECTED) == [
        "trends: 2 rows expected, 1 found; 1 missing, 0 unexpected"
    ]
    twice = pa.concat_tables([EXPECTED.rows["trends"], lost])
    assert differences(EXPECTED._replace(rows={"trends": twice}), EXPECTED) == [
        "trends: 2 rows expected, 3 found; 0 missing, 1 unexpected"
    ]


def test_other_brands_and_counts_are_reported() -> None:
    found = EXPECTED._replace(brands={1: [("sony", 8)]}, counts={"stored and rejected": 10})
    assert differences(found, EXPECTED) == [
        "recent brands: other lists of 1 users, such as 1",
        "stored and rejected: 9 expected, 10 found",
    ]


def test_each_case_is_reported_with_its_fault_and_result(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        """
import pytest

fault = pytest.mark.fault

@fault("a plug is pulled")
@pytest.mark.parametrize("held", [True, False])
def test_plug(held):
    assert held

@fault("a disk is full")
def test_disk():
    pytest.skip("no disk")

def test_another(): ...
"""
    )
    cases = run_cases(tmp_path)
    assert [(case.fault, case.result) for case in cases] == [
        ("a plug is pulled", "passed"),
        ("a plug is pulled", "failed"),
        ("a disk is full", "skipped"),
    ]
    printed = io.StringIO()
    rounds = [Round(1, "broker", "java", []), Round(1, "replay", None, [])]
    print_outcomes(Console(file=printed, width=120), rounds, cases)
    lines = [" ".join(line.split()) for line in printed.getvalue().splitlines()]
    for line in ("kill -9: broker 1 1 1", "kill -9: replay 1 0 1", "a plug is pulled 2 2 1", "a disk is full 1 0 0"):
        assert line in lines
    assert any(line.startswith("failed: ") and "test_plug[False]" in line for line in lines)
