"""A campaign: runs of ten rounds, one kill per round, each run then compared with an undisturbed run."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from chaos.faults import CLUSTER_FAULTS, FAULTS
from chaos.outcome import Outcome, differences, read_outcome
from chaos.pipeline import Pipeline, finish, open_location, replay, running_pipeline
from lambda_spark.local.processes import CommandError, run_command
from lambda_spark.local.synthetic import generate_month, write_events
from lambda_spark.local.synthetic_shop import DAY_SECONDS, DAYS

ROUNDS_A_RUN = 10
_FIRST_PAUSE, _PAUSE = (8.0, 16.0), (2.0, 9.0)
_FEED_SECONDS_A_ROUND = 9
_TRIES, _RETRY_SECONDS = 240, 0.5
_REPLAY_SECONDS = 300

Say = Callable[[str], None]


class Round(NamedTuple):
    """A fault, the name of the process that it killed (None: it found none), and the differences after its run."""

    run: int
    fault: str
    victim: str | None
    differences: list[str]


def campaign(folder: Path, rounds: int, seed: int, events: int, say: Say) -> Iterator[Round]:
    """Yield the rounds of each run when the run is over; every second run is on a cluster."""
    file = folder / "events.csv"
    write_events(file, generate_month(seed, events=events, users=max(events // 15, 100), products=200))
    say("An undisturbed run …")
    expected = _undisturbed(folder / "undisturbed", file)
    for run, first in enumerate(range(0, rounds, ROUNDS_A_RUN), start=1):
        chance, on_cluster = Random(f"{seed} {run}"), run % 2 == 0
        kinds = CLUSTER_FAULTS if on_cluster else FAULTS
        faults = chance.choices(list(kinds), k=min(ROUNDS_A_RUN, rounds - first))
        say(f"Run {run}, " + ("on a cluster …" if on_cluster else "in local mode …"))
        with tempfile.TemporaryDirectory(dir=folder, prefix=f"run-{run}-") as run_folder:
            kills, differing = _run(Path(run_folder), file, expected, faults, on_cluster, chance, say)
        yield from (Round(run, fault, victim, differing) for fault, victim in kills)


def _undisturbed(folder: Path, file: Path) -> Outcome:
    with open_location(folder) as location:
        run_command(replay(file), location.environment())
        finish(location)
        return read_outcome(location)


def _run(
    folder: Path, file: Path, expected: Outcome, faults: list[str], on_cluster: bool, chance: Random, say: Say
) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Return each fault with the name of its victim, and the differences from the undisturbed run."""
    kills: list[tuple[str, str | None]] = []
    with open_location(folder) as location:
        speed = DAYS * DAY_SECONDS / (_FEED_SECONDS_A_ROUND * len(faults))
        with running_pipeline(location, file, speed, on_cluster=on_cluster) as pipeline:
            time.sleep(chance.uniform(*_FIRST_PAUSE))
            for fault in faults:
                time.sleep(chance.uniform(*_PAUSE))
                victim = _strike(fault, pipeline, chance)
                say(f"{fault}: {victim or 'nothing to kill'}")
                kills.append((fault, victim))
            if not pipeline.jobs["replay"].wait(_REPLAY_SECONDS):
                return kills, [f"The replay has not ended within {_REPLAY_SECONDS} s."]
        try:
            finish(location)
        except CommandError as error:
            return kills, [str(error)]
        return kills, differences(read_outcome(location), expected)


def _strike(fault: str, pipeline: Pipeline, chance: Random) -> str | None:
    for _ in range(_TRIES):
        if victim := CLUSTER_FAULTS[fault](pipeline, chance):
            return victim
        time.sleep(_RETRY_SECONDS)
    return None
