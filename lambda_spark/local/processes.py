"""Processes on this machine: started, awaited, stopped, and found again by the pid file of a daemon; free ports.

The pid files are own code: a daemon inherits a lock on its file, which the kernel releases however the daemon ends,
while psutil could only compare a start time that the file would have to record.
"""

import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import IO, Any

from lambda_spark.errors import LambdaSparkError
from lambda_spark.settings import PROJECT_ROOT

_STOP_SECONDS = 30
_EXIT_SECONDS = 60
_POLL_SECONDS = 0.1
_SHOWN_LETTERS = 2_000


class CommandError(LambdaSparkError):
    """Raised if a command fails that was run for its effect."""


def start_process(command: Sequence[str], variables: Mapping[str, str] | None = None, **options: Any) -> "Popen[bytes]":
    """Start a command in the project's folder, with variables added to the environment; `options` are Popen's."""
    environment = {**os.environ, **(variables or {})}
    return Popen(command, env=environment, cwd=PROJECT_ROOT, stdin=DEVNULL, **options)


@contextmanager
def running_process(command: Sequence[str]) -> "Iterator[Popen[bytes]]":
    """Run a command inside the block, without its standard output; send it SIGTERM after the block."""
    process = start_process(command, stdout=DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_EXIT_SECONDS)


def run_command(command: Sequence[str], variables: Mapping[str, str] | None = None) -> None:
    """Run a command to its end, silently. Raises CommandError, with the end of its standard error, if it fails."""
    process = start_process(command, variables, stdout=DEVNULL, stderr=PIPE)
    _, errors = process.communicate()
    if process.returncode:
        end = errors.decode(errors="replace").strip()[-_SHOWN_LETTERS:]
        raise CommandError(f"`{' '.join(command)}` ended with {process.returncode}: {end}")


def start_daemon(
    pid_file: Path, command: Callable[[], Sequence[str]], variables: Mapping[str, str] | None = None
) -> "Popen[bytes] | None":
    """Start a process that Ctrl-C in the terminal doesn't reach; return None if the pid file's process is running.

    `command` is called once that is certain. The process prints into the file of the same name that ends in .log.
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
                env={**os.environ, **(variables or {})},
                start_new_session=True,
                pass_fds=[file.fileno()],
            )
        file.write(str(process.pid))
    return process


def stop_daemon(pid_file: Path) -> bool:
    """Stop the process of the pid file and wait until it has ended; return False if none is running."""
    pid = running_pid(pid_file)
    if pid is None:
        return False
    for request in (signal.SIGTERM, signal.SIGKILL):
        os.kill(pid, request)
        if wait_until(lambda: running_pid(pid_file) is None, _STOP_SECONDS):
            break
    return True


def running_pid(pid_file: Path) -> int | None:
    """Return the id of the pid file's process, None if it isn't running."""
    if not pid_file.exists():
        return None
    with pid_file.open() as file:
        text = "" if _lock(file) else file.read()
    return int(text) if text else None


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition holds, at most `seconds`; return whether it does."""
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return holds


def free_port() -> int:
    """Return a port of this machine that nothing listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def free_address() -> str:
    """Return `127.0.0.1:PORT` with a free port."""
    return f"127.0.0.1:{free_port()}"


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
