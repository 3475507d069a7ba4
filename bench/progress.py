"""The progress of a run: the events done at moments of time, and the steady rate that follows."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lambda_spark.delta.coverage import count_between
from lambda_spark.speed.checkpoints import batch_offsets, first_offsets

# The first tenth of the events belongs to the start, not to the steady state.
_START_SHARE = 0.1


class Progress(NamedTuple):
    """The number of events done by `at`, in seconds since 1970."""

    at: float
    done: int


def printed_progress(output: str, total: int) -> list[Progress]:
    """Return the progress that a program has printed, summed over its workers.

    A program that ends by itself has done everything: the last entry has the total, whatever was printed.
    """
    printed = [json.loads(line) for line in output.splitlines() if line.startswith('{"at"')]
    done: dict[int, int] = {}
    progress = []
    for entry in sorted(printed, key=lambda entry: entry["at"]):
        done[entry["worker"]] = entry["done"]
        progress.append(Progress(entry["at"], sum(done.values())))
    return [*progress[:-1], progress[-1]._replace(done=total)] if progress else []


def committed_progress(checkpoint: str) -> list[Progress]:
    """Return one entry per micro-batch of a Spark query: its commit, and the messages done by then."""
    start = first_offsets(checkpoint)
    commits = Path(checkpoint, "commits")
    batches = sorted(int(file.name) for file in commits.iterdir() if file.name.isdigit())
    return [
        Progress((commits / str(batch)).stat().st_mtime, count_between(start, batch_offsets(checkpoint, batch)))
        for batch in batches
    ]


def steady_rate(progress: Sequence[Progress]) -> float | None:
    """Return events per second from the first entry after the start to the last one.

    None if at most half of the events are between these two: one large micro-batch and a rest.
    """
    if not progress:
        return None
    last = progress[-1]
    first = next(entry for entry in progress if entry.done >= _START_SHARE * last.done)
    return (last.done - first.done) / (last.at - first.at) if 2 * first.done < last.done else None
