"""The jobs on a Spark standalone cluster of a master and two workers: the same tables as in local mode."""

import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import NewSettings, all_tables, contents, run_job

from lambda_spark.delta.tables import EVENTS
from lambda_spark.local import cluster
from lambda_spark.local.processes import free_port
from lambda_spark.settings import PROJECT_ROOT, Settings

pytestmark = pytest.mark.slow

ALL_JOBS = str(PROJECT_ROOT / "tests" / "support" / "all_jobs.py")
COORDINATES = ("source_topic", "source_partition", "source_offset", "source_file", "source_line")


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of the tests' cluster."""
    ports = free_port(), free_port()
    directory = tmp_path_factory.mktemp("cluster")
    assert cluster.start_cluster(directory, *ports)
    try:
        assert not cluster.start_cluster(directory, *ports)
        yield f"spark://{cluster.HOST}:{ports[0]}"
    finally:
        assert cluster.stop_cluster(directory)
        assert not cluster.stop_cluster(directory)


@pytest.fixture(scope="module")
def executor_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with the package's dependencies, but without the package, as on the machines of a cluster."""
    environment = tmp_path_factory.mktemp("executors") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    packages = next(environment.glob("lib/python*/site-packages"))
    # Python doesn't process .pth files in a folder that a .pth file adds, and one of them links the package.
    (packages / "all.pth").write_text("\n".join(site.getsitepackages()))
    python = environment / "bin" / "python"

    def can_import(name: str) -> bool:
        done = subprocess.run([python, "-c", f"import {name}"], check=False, cwd=packages, capture_output=True)
        return done.returncode == 0

    assert can_import("pyarrow")
    assert not can_import("lambda_spark")
    return python


def test_all_jobs_make_the_same_tables_with_the_package_handed_to_the_executors_as_a_zip(
    reference: Settings, new_settings: NewSettings, master: str, executor_python: Path, tmp_path: Path
) -> None:
    settings = new_settings(kafka=reference.kafka.model_dump())
    package = str(PROJECT_ROOT / "dist" / "lambda_spark.zip")
    run_job(["make", "package"], settings, PROJECT_ROOT)
    python = {"PYSPARK_PYTHON": str(executor_python), "PYSPARK_DRIVER_PYTHON": sys.executable}
    run_job(["spark-submit", "--master", master, "--py-files", package, ALL_JOBS], settings, tmp_path, **python)
    assert all_tables(settings.data_root) == all_tables(reference.data_root)


def test_a_variable_names_the_cluster_and_tasks_find_the_event_file(
    new_settings: NewSettings, master: str, small_month: Path
) -> None:
    settings = new_settings()
    job = str(PROJECT_ROOT / "jobs" / "ingest_events.py")
    run_job([sys.executable, job, small_month.name], settings, small_month.parent, MASTER=master)
    assert sum(contents(settings.data_root, EVENTS, COORDINATES).values()) == 20_000
