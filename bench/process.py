"""Measured commands: the time, the output, and the resources that a process and its descendants used."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from lambda_spark.errors import LambdaSparkError
from lambda_spark.local.processes import start_process

_POLL_SECONDS = 0.25
_LAST_LINES = 30


class BenchError(LambdaSparkError):
    """Raised if something can't be measured, or if a measured run gave a wrong answer."""


class Usage(NamedTuple):
    """The resources that a process and its descendants had used by `at`, in seconds since 1970.

    Memory is the resident memory of all of them together, with shared pages counted for each.
    """

    at: float
    cpu_seconds: float
    peak_bytes: int
    written_bytes: int


class Measurement(NamedTuple):
    """One run, with its usage sampled four times a second."""

    began_at: float  # seconds since 1970
    seconds: float
    output: str
    usages: Sequence[Usage]

    def usage(self, until: float | None = None) -> Usage:
        """Return the usage at the end, or by `until` if the process did something afterwards that doesn't count."""
        return [self.usages[0], *(usage for usage in self.usages if until is None or usage.at <= until)][-1]


def run_measured(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Measurement:
    """Run the command in the project's folder, with its output in `folder`. Raises BenchError if it fails."""
    output, errors = folder / "output", folder / "errors"
    with output.open("wb") as out, errors.open("wb") as err:
        began_at, clock = time.time(), time.monotonic()
        process = start_process(command, environment, stdout=out, stderr=err)
        tree = _ProcessTree(process.pid)
        try:
            tree.sample()
            while _is_running(process):
                tree.sample()
        finally:
            seconds = time.monotonic() - clock
            tree.kill()
    if process.returncode:
        end = "\n".join(errors.read_text(errors="replace").splitlines()[-_LAST_LINES:])
        raise BenchError(f"`{' '.join(command)}` ended with {process.returncode}: {end}")
    return Measurement(began_at, seconds, output.read_text(), tree.usages)


def job(name: str, *options: str) -> list[str]:
    """Return the command that runs a job script."""
    return [sys.executable, f"jobs/{name}.py", *options]


def _is_running(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


class _ProcessTree:
    """A process with its descendants, sampled repeatedly."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._used: dict[psutil.Process, tuple[float, int]] = {}
        self.usages: list[Usage] = []

    def sample(self) -> None:
        """Append the present usage; processes that have ended count with their last sample."""
        resident = 0
        for process in self._processes():
            with suppress(psutil.Error):  # it has ended by now
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

    def kill(self) -> None:
        """Wait for the remaining processes, and kill those that don't end by themselves."""
        _, left = psutil.wait_procs(list(self._used), timeout=0 if self._root.is_running() else 10)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)
