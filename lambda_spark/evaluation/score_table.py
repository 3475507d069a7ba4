"""The scores of recommendations as a table on the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from lambda_spark.quality import DEFAULT_ORDER
from lambda_spark.terminal import left, print_table, right, say

_LEGEND = (
    "HR@20: share of the users who met one of the 20 products next; in brackets what 95 % of the bootstrapped samples "
    "of users hold. Users: share of them who are recommended anything. Catalogue: share of the window's products that "
    "anybody is. Novelty: bits of surprise that a user met the product. Seen: share of what the user had met before."
)
_GOAL = 1.2


def print_scores(console: Console, title: str, scores: Mapping[str, Any]) -> None:
    """Print a line per competitor, in the order they were judged in, and how far the rule is from the goal."""
    found = scores["competitors"]
    columns = [left(f"{scores['judgements']:,} judgements", list(found), is_flexible=True)]
    columns += [
        right(header, [_with_interval(line[metric]) for line in found.values()])
        for header, metric in (("HR@20", "hit_rate"), ("NDCG@20", "ndcg"), ("precision", "precision"))
    ]
    columns += [
        right(header, [_rounded(line[metric][0], ".0%") for line in found.values()])
        for header, metric in (("users", "user_coverage"), ("catalogue", "catalogue_coverage"))
    ]
    columns.append(right("novelty", [_rounded(line["novelty"][0], ".1f") for line in found.values()]))
    columns.append(right("seen", [_rounded(line["already_seen"][0], ".0%") for line in found.values()]))
    heading = f"{title}: {scores['cuts']} cuts, {scores['users']:,} users"
    print_table(console, heading, columns)
    say(console, _LEGEND, "dim")
    for metric, name in (("hit_rate", "HR@20"), ("ndcg", "NDCG@20")):
        say(console, goal_sentence(name, scores["lift"][DEFAULT_ORDER][metric]))


def goal_sentence(name: str, lift: Mapping[str, Any]) -> str:
    """Say how far the default order is from 20 % above the best baseline."""
    times, low, high = lift["times"]
    if None in (times, low, high):
        return f"{name}: too few users met anything to say how the default order compares with {lift['over']}."
    verdict = "met" if times >= _GOAL else f"missed by {(_GOAL - times) * 100:.0f} points"
    return (
        f"{name} of the default order is {times * 100:.0f} % of that of {lift['over']} ({low * 100:.0f} to "
        f"{high * 100:.0f}); the goal, {_GOAL * 100:.0f} %, is {verdict}."
    )


def _with_interval(figures: Sequence[float | None]) -> str:
    value, low, high = (_rounded(figure, ".3f") for figure in figures)
    return f"{value} ({low}–{high})"


def _rounded(figure: float | None, form: str) -> str:
    return "–" if figure is None else format(figure, form)
