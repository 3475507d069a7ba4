"""Processes that go on in the background: started, found again, stopped.

Each holds a lock on its pid file for as long as it lives. Only the lock says so: a number in a file may be stale, or
another's by now.
"""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, Popen
from typing import IO

_STOP_SECONDS = 30


def start_daemon(
    pid_file: Path, command: Callable[[], Sequence[str]], environment: Mapping[str, str] | None = None
) -> "Popen[bytes] | None":
    """Start a process away from the terminal's Ctrl-C, unless the one of this pid file lives: then return None.

    Its command is asked for once that is certain; what it prints goes to the file of the same name that ends in .log.
    """
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    with pid_file.open("a") as file:
        if not _lock(file):
            return None
        file.truncate(0)
        words = command()
        with pid_file.with_suffix(".log").open("wb") as log:
            process = Popen(
                words,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
                pass_fds=[file.fileno()],
            )
        file.write(str(process.pid))
    return process


def stop_daemon(pid_file: Path) -> bool:
    """Stop the process of the pid file and wait until it is gone; returns False where there is none."""
    pid = running_pid(pid_file)
    if pid is None:
        return False
    for request in (signal.SIGTERM, signal.SIGKILL):
        os.kill(pid, request)
        if becomes_true(lambda: running_pid(pid_file) is None, _STOP_SECONDS):
            break
    return True


def running_pid(pid_file: Path) -> int | None:
    """Return the id of the process of the pid file, None where it does not live."""
    if not pid_file.exists():
        return None
    with pid_file.open() as file:
        text = "" if _lock(file) else file.read()
    return int(text) if text else None


def becomes_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for the condition, at most so long; say whether it was met."""
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return met


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
