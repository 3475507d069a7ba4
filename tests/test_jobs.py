"""The jobs as people start them: `--help`, spark-submit and plain python, errors in one sentence, a clean end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lambda_spark.local.synthetic import write_month
from lambda_spark.replay.replay import replay
from lambda_spark.settings import PROJECT_ROOT, Settings
from lambda_spark.speed.checkpoints import received_count, speed_checkpoint

pytestmark = pytest.mark.slow

JOBS = sorted(path.name for path in (PROJECT_ROOT / "jobs").glob("*.py"))
BIN = Path(sys.executable).parent
USUAL_PATH = os.pathsep.join([str(BIN), *os.environ["PATH"].split(os.pathsep)])


def run(*command: str, cwd: Path = PROJECT_ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command as in an activated environment in which no variable of ours or of Spark's is set."""
    ours = ("LAMBDA_", "SPARK_", "PYSPARK_", "JAVA_HOME", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment["PATH"] = USUAL_PATH
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def job(name: str) -> str:
    return str(PROJECT_ROOT / "jobs" / name)


@pytest.mark.parametrize("name", JOBS)
def test_help_says_what_a_job_does(name: str) -> None:
    answer = run("python", job(name), "--help")
    assert answer.returncode == 0
    first_line = (PROJECT_ROOT / "jobs" / name).read_text().splitlines()[0].strip('"')
    assert first_line in answer.stdout
    assert answer.stderr == ""


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
def test_a_mistake_is_told_in_one_sentence_before_spark_starts(command: Sequence[str], words: Sequence[str]) -> None:
    begin = time.monotonic()
    answer = run("python", job(command[0]), *command[1:])
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert [word for word in words if word not in answer.stderr] == []
    assert time.monotonic() - begin < 60


def test_every_job_of_the_file_path_runs_under_spark_submit_from_anywhere(tmp_path: Path) -> None:
    write_month(tmp_path / "events.csv", events=2_000)
    root = ("--data-root", str(tmp_path / "tables"))
    early = run("spark-submit", job("recommend.py"), *root, cwd=tmp_path)
    assert early.returncode == 2
    # spark-submit hands on both streams of Python's as its standard output.
    assert early.stdout.startswith("error: There are no events")
    assert early.stdout.endswith("run jobs/ingest_events.py first.\n")

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


def test_a_stream_ends_cleanly_and_says_what_it_has_received(
    tmp_path: Path, new_run: Callable[..., Settings], new_settings: Callable[..., Settings]
) -> None:
    write_month(tmp_path / "events.csv", events=500)
    settings = new_run()
    replay(settings.kafka, [tmp_path / "events.csv"])
    # Both streams at once, each with tables of its own.
    other = new_settings(kafka=settings.kafka.model_dump())
    with ThreadPoolExecutor(2) as pool:
        submitted = pool.submit(output_of_a_stopped_stream, "spark-submit", signal.SIGTERM, settings)
        plain = pool.submit(output_of_a_stopped_stream, "python", signal.SIGINT, other)
        for output in (submitted.result(), plain.result()):
            assert "batch 0 · 500 messages" in output
            assert "Received by the speed layer  500" in output


def output_of_a_stopped_stream(command: str, stop: signal.Signals, settings: Settings) -> str:
    """Start the speed stream, send it the signal once it has received all 500 messages, and see that it ends well."""
    options = {
        "--data-root": settings.data_root,
        "--topic": settings.kafka.topic,
        "--bootstrap-servers": settings.kafka.bootstrap_servers,
    }
    words = [str(word) for option in options.items() for word in option]
    with subprocess.Popen(
        [command, job("speed_stream.py"), *words, "--show"],
        env={**os.environ, "PATH": USUAL_PATH},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            deadline = time.monotonic() + 200
            while received_count(speed_checkpoint(settings.data_root)) < 500 and time.monotonic() < deadline:
                time.sleep(0.5)
            process.send_signal(stop)
            output = process.communicate(timeout=60)[0]
        finally:
            process.kill()
    assert process.returncode == 0
    return output
