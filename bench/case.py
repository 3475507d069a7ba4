"""What is measured: tables of cases, each case a command that is prepared anew for every run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.process import Measured

Figures = Mapping[str, float | None]


class Run(NamedTuple):
    """A command, and what its figures are once it has ended."""

    command: Sequence[str]
    environment: Mapping[str, str]
    figures: Callable[[Measured], Figures]


class Case(NamedTuple):
    """A row of a table. `prepare` is given an empty folder of the run's own; `remark` stands in the last column."""

    name: str
    prepare: Callable[[Path], Run]
    remark: str = ""
    repetitions: int | None = None


class Column(NamedTuple):
    """A column: the figure's name, its heading, its format, and whether its ratio to the first case is given too."""

    figure: str
    heading: str
    form: str = "{:,.0f}"
    has_ratio: bool = False


class Goal(NamedTuple):
    """What a figure of a case is to come to, `limit` at most or, with `is_least`, at least; `words` say so.

    With `share_of` it is the figure's share of the same figure of that case.
    """

    case: str
    figure: str
    limit: float
    words: str
    form: str = "{:,.0f}"
    is_least: bool = False
    share_of: str | None = None


class Table(NamedTuple):
    """What is measured together, its cases in turn, so that a machine that slows down slows them all.

    `data` says in a few words what it was measured with.
    """

    key: str
    title: str
    cases: Sequence[Case]
    columns: Sequence[Column]
    remark_heading: str
    packages: Sequence[str]
    data: str = ""
    goals: Sequence[Goal] = ()
