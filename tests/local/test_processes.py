"""Processes: a command that fails raises the end of its errors, and a daemon is found, and stopped, by its pid file."""

import sys
from pathlib import Path

import pytest

from lambda_spark.local.processes import CommandError, run_command, running_pid, start_daemon, stop_daemon


def test_a_failed_command_raises_its_errors() -> None:
    run_command([sys.executable, "-c", "import os; assert os.environ['SIZE'] == '5'"], {"SIZE": "5"})
    with pytest.raises(CommandError, match=r"ended with 1: no such thing$"):
        run_command([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_a_daemon_is_started_once_and_stopped_by_its_pid_file(tmp_path: Path) -> None:
    pid_file, command = tmp_path / "folder" / "sleep.pid", ["sleep", "60"]
    assert running_pid(pid_file) is None
    process = start_daemon(pid_file, lambda: command)
    assert process is not None
    try:
        assert running_pid(pid_file) == process.pid
        assert start_daemon(pid_file, lambda: pytest.fail("is running")) is None
        assert stop_daemon(pid_file)
    finally:
        process.kill()
        process.wait()
    assert running_pid(pid_file) is None
    assert not stop_daemon(pid_file)
