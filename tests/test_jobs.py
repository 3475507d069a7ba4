"""The jobs as people start them: `--help`, spark-submit and plain python, errors in one sentence, a clean end."""

import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers import PATIENCE, NewSettings

from lambda_spark.delta import session
from lambda_spark.local.processes import wait_until
from lambda_spark.local.synthetic import write_month
from lambda_spark.replay.replay import replay
from lambda_spark.settings import PROJECT_ROOT
from lambda_spark.speed.checkpoints import received_count, speed_checkpoint

JOBS = sorted(path.name for path in (PROJECT_ROOT / "jobs").glob("*.py"))
BIN = Path(sys.executable).parent
USUAL_PATH = os.pathsep.join([str(BIN), *os.environ["PATH"].split(os.pathsep)])


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as in an activated environment that sets no variable of this package or of Spark."""
    ours = ("LAMBDA_", "SPARK_", "PYSPARK_", "JAVA_HOME", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment["PATH"] = USUAL_PATH
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def job(name: str) -> str:
    return str(PROJECT_ROOT / "jobs" / name)


def exit_code_in_this_process(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> object:
    """Run the script as `python` does, but for a job that starts Spark: that fails."""

    def get_spark(_: str) -> None:
        raise AssertionError("The job has started Spark.")

    monkeypatch.setattr(session, "get_spark", get_spark)
    monkeypatch.setattr(sys, "argv", [job(name), *arguments])
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_path(job(name), run_name="__main__")
    return exit_info.value.code


@pytest.mark.parametrize("name", JOBS)
def test_help_says_what_a_job_does(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_in_this_process(monkeypatch, name, "--help") == 0
    printed = capsys.readouterr()
    first_line = (PROJECT_ROOT / "jobs" / name).read_text().splitlines()[0].strip('"')
    assert first_line in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["replay_events.py", "missing.csv"], ["no event file missing.csv", "name a csv"]),
        (["replay_events.py", "--bootstrap-servers", "127.0.0.1:1", __file__], ["127.0.0.1:1", "make broker"]),
        (["ingest_events.py", "missing.csv"], ["no event file missing.csv", "name a csv"]),
        (["batch_trends.py", "--from", "2019-11-08", "--to", "2019-11-01"], ["2019-11-08", "not before", "2019-11-01"]),
        (["batch_trends.py", "--from", "2019-11-08"], ["both --from and --to"]),
        (["batch_trends.py", "--from", "soon", "--to", "2019-11-01"], ["'soon'", "2019-11-01T12:00:00"]),
        (["batch_trends.py", "--bucket", "fortnight", "--from", "2019-11-01", "--to", "2019-11-08"], ["'fortnight'"]),
        (["batch_trends.py", "--days", "0"], ["trends.days = 0", "greater than or equal to 1"]),
        (["batch_trends.py", "--rank-by", "luck"], ["trends.rank_by = 'luck'", "trend_score"]),
        (
            ["recommend.py", "--from", "2019-11-01", "--to", "2019-11-08T12:00"],
            ["no whole number of buckets", "[2019-11-01, 2019-11-08)", "[2019-11-01, 2019-11-09)"],
        ),
    ],
)
def test_a_mistake_is_reported_in_one_sentence_before_spark_starts(
    command: Sequence[str],
    words: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code_in_this_process(monkeypatch, *command) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert [word for word in words if word not in printed] == []


@pytest.mark.slow
def test_every_job_of_the_file_path_runs_under_spark_submit_from_anywhere(tmp_path: Path) -> None:
    write_month(tmp_path / "events.csv", events=2_000)
    root = ("--data-root", str(tmp_path / "tables"))
    mistaken = run("spark-submit", job("ingest_events.py"), "missing.csv", *root, cwd=tmp_path)
    assert mistaken.returncode == 2
    # spark-submit passes both streams of Python on as its standard output.
    assert mistaken.stdout.startswith("error: There is no event file missing.csv")
    assert mistaken.stdout.count("\n") == 1

    def submit(name: str, *options: str) -> str:
        answer = run("spark-submit", job(name), *root, *options, cwd=tmp_path)
        assert (answer.returncode, answer.stderr) == (0, "")
        assert answer.stdout.strip()
        return answer.stdout

    submit("ingest_events.py", "events.csv")
    with ThreadPoolExecutor(2) as pool:
        views = [
            pool.submit(submit, "batch_trends.py", "--min-events", "2", "--show"),
            pool.submit(submit, "batch_brands.py"),
        ]
        for view in views:
            view.result()
    rows = json.loads(submit("recommend.py", "--format", "json"))
    assert rows
    assert {row["window_to"] for row in rows} == {"2019-12-01T00:00:00Z"}


@pytest.mark.slow
def test_ctrl_c_ends_a_stream_and_prints_how_many_messages_it_has_received(
    tmp_path: Path, new_run: NewSettings
) -> None:
    write_month(tmp_path / "events.csv", events=500)
    settings = new_run()
    replay(settings.kafka, [tmp_path / "events.csv"])
    options = {
        "--data-root": settings.data_root,
        "--topic": settings.kafka.topic,
        "--bootstrap-servers": settings.kafka.bootstrap_servers,
    }
    words = [str(word) for option in options.items() for word in option]
    with subprocess.Popen(
        ["python", job("speed_stream.py"), *words, "--show"],
        env={**os.environ, "PATH": USUAL_PATH},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert wait_until(lambda: received_count(speed_checkpoint(settings.data_root)) == 500, PATIENCE)
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=PATIENCE)[0]
        finally:
            process.kill()
    assert process.returncode == 0
    assert "batch 0 · 500 messages" in output
    assert "Received by the speed layer  500" in output
