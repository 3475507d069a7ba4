"""A full disk ends a job with one sentence; once there is space, the tables become those of an undisturbed run."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import disk_usage

import pytest
from helpers import NewSettings, contents, environment_of, random_events, send
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, REJECTED_EVENTS
from lambda_spark.settings import PROJECT_ROOT, Settings
from lambda_spark.speed.checkpoints import ingest_checkpoint, received_count, speed_checkpoint

pytestmark = [pytest.mark.fault("the disk is full"), pytest.mark.slow]

SECTIONS = {"speed": {"max_messages_per_trigger": 100}, "ingest": {"max_messages_per_trigger": 100}}
STREAMS = (pipelines.ingest_topic, pipelines.speed_stream)
COUNT = 400


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a small disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def all_rows(settings: Settings) -> dict[str, Counter[str]]:
    leave_out = {REJECTED_EVENTS: ["rejected_at"]}
    tables = (EVENTS, REJECTED_EVENTS, RECENT_BRANDS)
    return {table.name: contents(settings.data_root, table, leave_out.get(table, ())) for table in tables}


def fill(disk: Path, free: int) -> Path:
    """Leave so many bytes; return the file to delete."""
    filler = disk / "filler"
    filler.write_bytes(bytes(max(0, disk_usage(disk).free - free)))
    return filler


def run_while_full(disk: Path, free: int, run: Callable[[], object]) -> None:
    filler = fill(disk, free)
    try:
        with pytest.raises(Exception, match="No space left on device"):
            run()
    finally:
        filler.unlink()


def test_a_full_disk_ends_the_job_and_once_there_is_space_nothing_is_missing(
    spark: SparkSession, new_run: NewSettings, disk: Path
) -> None:
    undisturbed = new_run(partitions=2, **SECTIONS)
    send(undisturbed.kafka, [*random_events(COUNT - 1, 1), b"no event"])
    settings = undisturbed.model_copy(update={"data_root": str(disk / "data")})
    for stream in STREAMS:
        stream(spark, undisturbed, available_now=True)
        # Too little at the first start, for a table's log, for a micro-batch's files, and in the midst of the stream.
        for free in (8_000, 40_000, 80_000):
            run_while_full(disk, free, lambda stream=stream: stream(spark, settings, available_now=True))
        stream(spark, settings, available_now=True)
    assert all_rows(settings) == all_rows(undisturbed)
    for checkpoint_of in (ingest_checkpoint, speed_checkpoint):
        assert received_count(checkpoint_of(settings.data_root)) == COUNT


def test_the_job_names_the_disk_and_the_remedy(new_run: NewSettings, disk: Path) -> None:
    settings = new_run(partitions=1)
    send(settings.kafka, random_events(5, 1))
    job = [sys.executable, str(PROJECT_ROOT / "jobs" / "ingest_events.py"), "--available-now", "--data-root"]
    fill(disk, 0)
    done = subprocess.run(
        [*job, disk / "data"], env=environment_of(settings), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: The disk of {disk}")
    assert "is full: make space there and start the job again" in done.stderr
    assert len(done.stderr.splitlines()) == 1
