"""Jobs as processes that are started again whenever they end, as a supervisor would."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from threading import Event, Thread

import psutil

from lambda_spark.settings import PROJECT_ROOT

_PAUSE_SECONDS = 1
_STOP_SECONDS = 120


class Supervised:
    """Runs commands one after another, again and again, until it is stopped, or, with `once`, until one went well.

    What they print is kept in a file each, named after the job and the number of the start.
    """

    def __init__(
        self, name: str, commands: Sequence[Sequence[str]], environment: Mapping[str, str], logs: Path, once: bool
    ) -> None:
        self._name, self._commands, self._environment, self._logs, self._once = name, commands, environment, logs, once
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def processes(self) -> list[psutil.Process]:
        """Return the running process and its descendants, the process itself first; none where it is being started."""
        try:
            root = psutil.Process(self._process.pid if self._process else -1)
            return [root, *root.children(recursive=True)]
        except (psutil.NoSuchProcess, ValueError):
            return []

    def wait(self, seconds: float) -> bool:
        """Wait until a job that runs once is done; say whether it is."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ask the process to end, and start no other."""
        self._is_over.set()
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._thread.join(_STOP_SECONDS)
        for process in self.processes():
            process.kill()

    def _run(self) -> None:
        for number in count():
            command = self._commands[number % len(self._commands)]
            with (self._logs / f"{self._name}-{number}.log").open("wb") as log:
                self._process = subprocess.Popen(
                    command, env=os.environ | self._environment, cwd=PROJECT_ROOT, stdout=log, stderr=log
                )
                exit_code = self._process.wait()
            if self._is_over.is_set() or (self._once and exit_code == 0):
                return
            self._is_over.wait(_PAUSE_SECONDS)
