"""The results: a line of JSON per run in data/bench, and Markdown tables of the newest session."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.case import Column, Goal, Table

Record = dict[str, Any]


class Row(NamedTuple):
    """A case with the medians of its runs."""

    case: str
    runs: int
    medians: Mapping[str, float]
    remark: str
    command: str


def keep(file: Path, record: Mapping[str, Any]) -> None:
    """Append the record of a run."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lines:
        lines.write(json.dumps(record) + "\n")


def read_session(file: Path, table: str) -> list[Record]:
    """Return the records of the newest session that has measured the table."""
    records = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    mine = [record for record in records if record["table"] == table]
    return [record for record in mine if record["session"] == mine[-1]["session"]]


def rows_of(table: Table, records: Sequence[Record]) -> list[Row]:
    """Return one row per measured case, in the table's order."""
    rows = []
    for case in table.cases:
        runs = [record for record in records if record["case"] == case.name]
        if runs:
            medians = medians_of(record["figures"] for record in runs)
            rows.append(Row(case.name, len(runs), medians, case.remark, runs[-1]["command"]))
    return rows


def medians_of(runs: Iterable[Mapping[str, float | None]]) -> dict[str, float]:
    """Return the median of each figure over the runs that have it."""
    values: dict[str, list[float]] = {}
    for figures in runs:
        for name, value in figures.items():
            if value is not None:
                values.setdefault(name, []).append(value)
    return {name: median(found) for name, found in values.items()}


def last_figures(output: str) -> dict[str, float]:
    """Return the figures that a program has printed as its last line, as JSON."""
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    return figures


def as_markdown(table: Table, records: Sequence[Record]) -> str:
    """Return the table with what it was measured by, on and when."""
    rows = rows_of(table, records)
    last = records[-1]
    head = ["", *(heading for column in table.columns for heading in _headings(column)), "runs", table.remark_heading]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(_cells(row, rows[0], table.columns))} |" for row in rows]
    commands = "\n".join(f"- {row.case}: `{row.command}`" for row in rows)
    about = (
        f"`make bench ONLY={table.key}`, {last['session'][:10]}, commit {last['commit']}: {last['data']}. "
        f"{last['machine']}; {last['versions']}. Medians."
    )
    goals = "\n".join(goal_lines(table.goals, {row.case: row.medians for row in rows}))
    parts = [about, "\n".join(lines), *(["Goals:", goals] if goals else []), "Each run is a process:", commands]
    return "\n\n".join(parts)


def goal_lines(goals: Sequence[Goal], medians: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a line per goal: the measured figure, met or missed. `medians` has the figures by case."""
    lines = []
    for goal in goals:
        value, base = (medians.get(case or "", {}).get(goal.figure) for case in (goal.case, goal.share_of))
        if value is None or (goal.share_of and not base):
            lines.append(f"- {goal.case}: {goal.words}: not measured")
            continue
        reached = value / base if base else value
        is_met = reached >= goal.limit if goal.is_least else reached <= goal.limit
        lines.append(f"- {goal.case}: {goal.words}: {goal.form.format(reached)}, {'met' if is_met else 'missed'}")
    return lines


def replace_section(document: str, key: str, text: str) -> str:
    """Return the document with the text between the markers of that key; unchanged if it has no such markers."""
    begin, end = f"<!-- bench:{key} -->", f"<!-- /bench:{key} -->"
    before, _, rest = document.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{text}\n{end}{after}" if end in rest else document


def _headings(column: Column) -> list[str]:
    return [column.heading, "ratio"] if column.has_ratio else [column.heading]


def _cells(row: Row, first: Row, columns: Sequence[Column]) -> list[str]:
    cells = [row.case]
    for column in columns:
        value = row.medians.get(column.figure)
        cells.append("–" if value is None else column.form.format(value))
        if column.has_ratio:
            base = first.medians.get(column.figure)
            cells.append(f"{base / value:.2f}" if base and value else "–")
    return [*cells, str(row.runs), row.remark]
