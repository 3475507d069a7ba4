"""Building blocks of the console's output: tables of safe text, sparklines, and a progress bar."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lambda_spark.report import words

_BARS = "▁▂▃▄▅▆▇█"
_MOST_CHARACTERS = 100


class Column(NamedTuple):
    """A column of a table on the terminal. A flexible one shrinks if the table is too wide."""

    header: str
    cells: Sequence[Text]
    justify: JustifyMethod = "left"
    is_flexible: bool = False


def print_table(console: Console, title: str, columns: Sequence[Column]) -> None:
    """Print a table under a title, without lines between its columns."""
    has_headers = any(column.header for column in columns)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=has_headers)
    for column in columns:
        table.add_column(Text(column.header), justify=column.justify, no_wrap=not column.is_flexible)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    console.print()
    console.print(Text(title, style="bold"))
    console.print(table)


def say(console: Console, sentence: str, style: str = "") -> None:
    """Print a sentence as a separate paragraph."""
    console.print()
    console.print(Text(sentence, style=style))


def texts(values: Sequence[object]) -> list[Text]:
    """Return the values as cells of one line: escaped, and cut if the column shrinks."""
    return [Text(words.clean(value), no_wrap=True, overflow="ellipsis") for value in values]


def left(header: str, values: Sequence[object], is_flexible: bool = False) -> Column:
    """Return a column of words."""
    return Column(header, texts(values), is_flexible=is_flexible)


def right(header: str, values: Sequence[object]) -> Column:
    """Return a column of numbers."""
    return Column(header, texts(values), "right")


def record_columns(rows: Sequence[Mapping[str, object]]) -> list[Column]:
    """Return the columns of rows that map names to values; all rows have the columns of the first."""
    names = list(rows[0]) if rows else []
    return [left(name, [sample(row[name]) for row in rows], is_flexible=True) for name in names]


def sparkline(counts: Sequence[float], most_bars: int) -> str:
    """Return a bar per count, scaled to the largest; with more counts than `most_bars`, a bar is the mean of several.

    >>> sparkline([0, 1, 5, 10], most_bars=24)
    '▁▂▅█'
    """
    size = bar_size(len(counts), most_bars)
    parts = [counts[start : start + size] for start in range(0, len(counts), size)]
    means = [sum(part) / len(part) for part in parts]
    top = max(means, default=0) or 1
    return "".join(_BARS[0 if mean == 0 else 1 + round(mean / top * (len(_BARS) - 2))] for mean in means)


def bar_size(buckets: int, most_bars: int) -> int:
    """Return the number of buckets per bar of a sparkline."""
    return max(1, -(-buckets // most_bars))


def sample(value: object) -> str:
    """Return any value of an event, a state or a row on one line, cut if it is long."""
    text = words.clean(_flat(value))
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"


def _flat(value: object) -> object:
    if isinstance(value, datetime):
        return words.second(value)
    if isinstance(value, (bytes, bytearray)):
        return value.decode(errors="replace")
    if isinstance(value, Mapping):
        return " ".join(str(_flat(part)) for part in value.values())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(_flat(part)) for part in value)
    return value


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="dim")


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error if that is a terminal; yield the function that takes done and total."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} of {task.total:,}"),
        _RateColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=0)
        yield lambda done, total: progress.update(task, completed=done, total=total)
