"""The evaluations that the page shows: which file is read, and that no file makes a run fail."""

import json
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sample_run import backtest, planted_shop, summary

from lambda_spark.evaluation.trend_quality import rankings
from lambda_spark.report.html_report import render
from lambda_spark.report.quality import DEFAULT_ORDER, DEFAULT_RANKING, TREND_RANK, Quality, read_quality
from lambda_spark.settings import PROJECT_ROOT, load_settings
from lambda_spark.trends.score import trend_rule


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Return a folder with the project's own evaluations."""
    write(tmp_path / "docs" / "evaluation-recommendations.json", {"Of the project": backtest()})
    write(tmp_path / "docs" / "evaluation-trends.json", {"small": planted_shop()})
    return tmp_path / "docs"


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def text_of(quality: Quality) -> str:
    return render(summary(quality=quality))


def test_without_an_evaluation_of_this_data_the_projects_own_is_shown_and_named(root: Path, docs: Path) -> None:
    quality = read_quality(root, docs)
    assert list(quality.recommendations.parts) == ["Of the project"]
    assert quality.trends.parts["small"].rankings[DEFAULT_RANKING].found_at_20.trend == 13
    assert f"not on this run: {docs}/evaluation-trends.json" in quality.trends.note
    assert quality.trends.command == f"python jobs/evaluate.py trends --output {root}/evaluation/trends.json"


def test_an_evaluation_of_this_data_comes_first(root: Path, docs: Path) -> None:
    write(root / "evaluation" / "recommendations.json", {"Of this shop": backtest()})
    quality = read_quality(root, docs)
    assert list(quality.recommendations.parts) == ["Of this shop"]
    assert quality.recommendations.note.startswith(f"Measured here: {root}/evaluation/recommendations.json")
    assert list(quality.trends.parts) == ["small"]


def test_without_an_evaluation_the_page_shows_the_command_for_it(root: Path, tmp_path: Path) -> None:
    shown = text_of(read_quality(root, tmp_path / "no folder"))
    assert shown.count("Not measured yet. This measures it:") == 2
    for what in ("recommendations", "trends"):
        assert f"<code>python jobs/evaluate.py {what} --output {root}/evaluation/{what}.json</code>" in shown


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"small": 1},
        {"Shop": backtest(lift={})},
        {"Shop": backtest(competitors={})},
        {"Shop": backtest(users=float("nan"))},
        {"small": planted_shop(rankings={})},
        {"small": planted_shop(planted={"trend": 20})},
    ],
)
def test_a_file_that_isnt_an_evaluation_is_named_and_fails_nothing(root: Path, docs: Path, content: Any) -> None:
    for what in ("recommendations", "trends"):
        write(root / "evaluation" / f"{what}.json", content)
    quality = read_quality(root, docs)
    assert quality.recommendations.parts == quality.trends.parts == {}
    assert f"{root}/evaluation/trends.json isn't an evaluation that can be shown." in unescape(text_of(quality))


def test_a_file_that_is_cut_off_fails_nothing(root: Path, docs: Path) -> None:
    (docs / "evaluation-trends.json").write_text('{"small": {"weeks"')
    assert "isn't an evaluation that can be shown" in read_quality(root, docs).trends.note


def test_the_projects_own_evaluations_exist_and_have_the_default_settings(root: Path) -> None:
    quality = read_quality(root)
    assert quality.trends.parts.keys() == {"small", "large"}
    names = rankings(trend_rule(load_settings().trends)).keys()
    assert all(shop.rankings.keys() == names for shop in quality.trends.parts.values())
    assert quality.recommendations.parts
    for part in quality.recommendations.parts.values():
        assert {DEFAULT_ORDER, TREND_RANK} <= part.competitors.keys()
    assert (PROJECT_ROOT / "docs" / "evaluation-trends.json").stat().st_size < 10_000
