"""The measurements: tables of cases, each case a command that is prepared again for every run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.process import Measurement

Figures = Mapping[str, float | None]


class Run(NamedTuple):
    """A command, and a function that returns its figures once it has ended."""

    command: Sequence[str]
    environment: Mapping[str, str]
    figures: Callable[[Measurement], Figures]


class Case(NamedTuple):
    """A row of a table. `prepare` gets a new empty folder for each run; `remark` is in the last column."""

    name: str
    prepare: Callable[[Path], Run]
    remark: str = ""
    repetitions: int | None = None


class Column(NamedTuple):
    """A column: the figure's name, its heading, its format, and whether the ratio to the first case is shown too."""

    figure: str
    heading: str
    form: str = "{:,.0f}"
    has_ratio: bool = False


class Goal(NamedTuple):
    """The goal for a figure of a case: at most `limit` or, with `is_least`, at least; `words` describe it.

    With `share_of` the limit is for the figure's share of the same figure of that case.
    """

    case: str
    figure: str
    limit: float
    words: str
    form: str = "{:,.0f}"
    is_least: bool = False
    share_of: str | None = None


class Table(NamedTuple):
    """Cases that are measured in turn, so that a machine that slows down slows all of them.

    `data` describes the data in a few words.
    """

    key: str
    title: str
    cases: Sequence[Case]
    columns: Sequence[Column]
    remark_heading: str
    packages: Sequence[str]
    data: str = ""
    goals: Sequence[Goal] = ()
