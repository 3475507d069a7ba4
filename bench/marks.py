"""How far a run was at which moment, and the rates that follow from it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lambda_spark.delta.coverage import count_between
from lambda_spark.speed.checkpoints import batch_offsets, first_offsets

# What comes before a tenth of the events is start, and no steady state.
_START_SHARE = 0.1


class Mark(NamedTuple):
    """So many events were done at this moment, in seconds since 1970."""

    at: float
    done: int


def printed_marks(output: str, total: int) -> list[Mark]:
    """Return the marks that a program has printed, summed over its workers.

    A program that ends by itself has done all: the last mark counts as the total, whatever was printed of it.
    """
    printed = [json.loads(line) for line in output.splitlines() if line.startswith('{"at"')]
    done: dict[int, int] = {}
    marks = []
    for mark in sorted(printed, key=lambda mark: mark["at"]):
        done[mark["worker"]] = mark["done"]
        marks.append(Mark(mark["at"], sum(done.values())))
    return [*marks[:-1], marks[-1]._replace(done=total)] if marks else []


def committed_marks(checkpoint: str) -> list[Mark]:
    """Return a mark per micro-batch of a Spark query: when it was committed, and the messages done by then."""
    start = first_offsets(checkpoint)
    commits = Path(checkpoint, "commits")
    batches = sorted(int(file.name) for file in commits.iterdir() if file.name.isdigit())
    return [
        Mark(
            (commits / str(batch)).stat().st_mtime,
            count_between(start, batch_offsets(checkpoint, batch)),
        )
        for batch in batches
    ]


def steady_rate(marks: Iterable[Mark]) -> float | None:
    """Return events per second from the first mark past the start to the last one.

    None where no more than half of the events lie between these: a single large micro-batch, and what was left over.
    """
    marks = list(marks)
    if not marks:
        return None
    first, last = next(mark for mark in marks if mark.done >= _START_SHARE * marks[-1].done), marks[-1]
    return (last.done - first.done) / (last.at - first.at) if 2 * first.done < last.done else None
