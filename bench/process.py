"""A command as a process of its own: how long it ran, what it printed, what it and its descendants used."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from lambda_spark.errors import LambdaSparkError
from lambda_spark.settings import PROJECT_ROOT

_POLL_SECONDS = 0.25
_LAST_LINES = 30


class BenchError(LambdaSparkError):
    """Raised where something cannot be measured, or what was measured gave a wrong answer."""


class Usage(NamedTuple):
    """What a process and its descendants had used by a moment, in seconds since 1970.

    Memory is the resident memory of all of them together, shared pages counted in each.
    """

    at: float
    cpu_seconds: float
    peak_bytes: int
    written_bytes: int


class Measured(NamedTuple):
    """One run; its usage was looked at a few times a second."""

    began_at: float  # seconds since 1970
    seconds: float
    output: str
    usages: Sequence[Usage]

    def usage(self, until: float | None = None) -> Usage:
        """Return the usage at the end, or until a moment after which something was done that does not count."""
        return [self.usages[0], *(usage for usage in self.usages if until is None or usage.at <= until)][-1]


def run_measured(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Measured:
    """Run the command in the project's folder, its output kept in `folder`. Raises BenchError where it fails."""
    output, errors = folder / "output", folder / "errors"
    with output.open("wb") as out, errors.open("wb") as err:
        began_at, clock = time.time(), time.monotonic()
        process = subprocess.Popen(
            command, env=os.environ | environment, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        tree = _Tree(process.pid)
        try:
            tree.look()
            while _is_running(process):
                tree.look()
        finally:
            seconds = time.monotonic() - clock
            tree.end()
    if process.returncode:
        said = "\n".join(errors.read_text(errors="replace").splitlines()[-_LAST_LINES:])
        raise BenchError(f"`{' '.join(command)}` ended with {process.returncode}: {said}")
    return Measured(began_at, seconds, output.read_text(), tree.usages)


def run_unmeasured(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run a command that only prepares. Raises BenchError where it fails."""
    done = subprocess.run(
        command, env=os.environ | environment, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()[-2000:]}")


def job(name: str, *options: str) -> list[str]:
    """Return the command that runs a job of the project."""
    return [sys.executable, f"jobs/{name}.py", *options]


def _is_running(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


class _Tree:
    """A process with its descendants, as they were whenever they were looked at."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._used: dict[psutil.Process, tuple[float, int]] = {}
        self.usages: list[Usage] = []

    def look(self) -> None:
        """Take note of what the processes use now; those that have ended count as they were last seen."""
        resident = 0
        for process in self._processes():
            with suppress(psutil.Error):  # it ended meanwhile
                times = process.cpu_times()
                self._used[process] = (times.user + times.system, process.io_counters().write_bytes)
                resident += process.memory_info().rss
        cpu_seconds, written = (sum(used) for used in zip((0.0, 0), *self._used.values(), strict=True))
        peak = max(resident, self.usages[-1].peak_bytes if self.usages else 0)
        self.usages.append(Usage(time.time(), cpu_seconds, peak, int(written)))

    def _processes(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def end(self) -> None:
        """Wait for what is left of it, and end what does not end by itself."""
        _, left = psutil.wait_procs(list(self._used), timeout=0 if self._root.is_running() else 10)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)
