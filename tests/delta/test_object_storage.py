"""A data root on object storage, kept by moto's S3 server: every job on it, and two writers at once."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from urllib.error import URLError
from urllib.request import Request, urlopen

import deltalake
import pyarrow as pa
import pytest
from deltalake.transaction import CommitProperties, Transaction
from helpers import ALL_TABLES, PATIENCE, NewSettings, all_tables, run_job
from pyspark.sql import SparkSession

from lambda_spark import cli
from lambda_spark.delta import commits
from lambda_spark.delta.maintenance import optimize
from lambda_spark.delta.storage import file_names, write_file
from lambda_spark.delta.tables import EVENTS, PRODUCT_ACTIVITY, files_of, path_of, read_arrow, version_of
from lambda_spark.errors import SetUpError
from lambda_spark.local.install import install_s3
from lambda_spark.local.processes import free_port, wait_until
from lambda_spark.settings import PROJECT_ROOT, Settings
from lambda_spark.speed.checkpoints import create_checkpoint, first_offsets, received_count

ALL_JOBS = str(PROJECT_ROOT / "tests" / "support" / "all_jobs.py")
S3_SERVER = str(PROJECT_ROOT / "tests" / "support" / "s3_server.py")
BUCKET = "shop"


@pytest.fixture(scope="module")
def surroundings() -> Iterator[dict[str, str]]:
    """Yield the environment variables that a job on the server's bucket needs, by the names of AWS."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, S3_SERVER, str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            assert wait_until(lambda: _make_bucket(address), PATIENCE), "moto's server does not start"
            yield {
                "AWS_ENDPOINT_URL": address,
                "AWS_ALLOW_HTTP": "true",
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "tests",
                "AWS_SECRET_ACCESS_KEY": "tests",
            }
        finally:
            server.kill()


def _make_bucket(address: str) -> bool:
    try:
        urlopen(Request(f"{address}/{BUCKET}", method="PUT")).close()
    except URLError:
        return False
    return True


@pytest.fixture
def in_this_process(surroundings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def run(
    reference: Settings,
    new_settings: NewSettings,
    surroundings: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], Settings]:
    """Return a function that runs all jobs on the bucket and returns their settings."""
    try:
        install_s3()
    except SetUpError as error:
        pytest.skip(f"Spark's jars for object storage are not here: {error}")
    settings = new_settings(kafka=reference.kafka.model_dump())
    settings = settings.model_copy(update={"data_root": f"s3a://{BUCKET}/tables"})
    # Moto's server says "100 Continue" twice, which AWS's asynchronous client takes for an answer: do without it.
    command = ["spark-submit", "--conf", "spark.hadoop.fs.s3a.optimized.copy.from.local.enabled=false", ALL_JOBS]

    def run_all() -> Settings:
        run_job(command, settings, tmp_path_factory.mktemp("s3"), **surroundings)
        return settings

    return run_all


@pytest.fixture(scope="module")
def stored(run: Callable[[], Settings]) -> Settings:
    return run()


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_all_jobs_make_the_same_tables_as_in_a_local_folder(reference: Settings, stored: Settings) -> None:
    assert all_tables(stored.data_root) == all_tables(reference.data_root)


@pytest.mark.long
@pytest.mark.fault("all jobs started again, on object storage")
@pytest.mark.usefixtures("in_this_process")
def test_both_streams_and_the_batch_layer_resume_from_their_stored_tables(
    stored: Settings, run: Callable[[], Settings]
) -> None:
    before = versions_of(stored.data_root)
    run()
    after = versions_of(stored.data_root)
    assert {name for name, version in after.items() if version != before[name]} <= {"recommendations", "recent_brands"}


def versions_of(root: str) -> dict[str, int]:
    return {table.name: version_of(root, table) for table in ALL_TABLES}


@pytest.mark.usefixtures("in_this_process")
def test_no_commit_is_lost_if_several_append_at_once() -> None:
    table, writers = f"s3a://{BUCKET}/log", 8
    deltalake.DeltaTable.create(table, pa.schema([("number", pa.int64())]))
    opened = [deltalake.DeltaTable(table) for _ in range(writers)]

    def append(number: int) -> None:
        commit = CommitProperties(app_transactions=[Transaction(f"writer-{number}", 1)])
        rows = pa.table({"number": pa.array([number], pa.int64())})
        deltalake.write_deltalake(opened[number], rows, mode="append", commit_properties=commit)

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(append, range(writers)))
    assert sorted(deltalake.DeltaTable(table).to_pyarrow_table()["number"].to_pylist()) == list(range(writers))
    assert deltalake.DeltaTable(table).version() == writers


@pytest.mark.usefixtures("in_this_process")
def test_a_table_of_an_earlier_version_is_rewritten_by_partition(spark: SparkSession) -> None:
    root, days = f"s3a://{BUCKET}/before", [date(2020, 3, 1), date(2020, 3, 2)]
    schema = spark.createDataFrame([], PRODUCT_ACTIVITY.columns).toArrow().schema
    rows = pa.Table.from_pylist([{"event_date": day, "product_id": day.day} for day in days], schema)
    deltalake.write_deltalake(path_of(root, PRODUCT_ACTIVITY), rows)
    commits.create(spark, root, PRODUCT_ACTIVITY)
    assert sorted(files_of(root, PRODUCT_ACTIVITY)["partition.event_date"].to_pylist()) == days
    replaced = commits.stage_table(spark, rows.slice(0, 1), root, PRODUCT_ACTIVITY, days[:1])
    commits.commit_staged(root, replaced)
    assert read_arrow(root, PRODUCT_ACTIVITY, schema.names).sort_by("event_date") == rows


@pytest.mark.fault("OPTIMIZE and VACUUM while streams write")
@pytest.mark.usefixtures("in_this_process")
def test_of_two_optimize_at_once_one_leaves_the_files_to_the_other() -> None:
    root, days = f"s3a://{BUCKET}/small", [date(2020, 3, 1), date(2020, 3, 2)]
    for number in range(3):
        rows = pa.table({"event_date": days, "user_id": [number, number]})
        deltalake.write_deltalake(path_of(root, EVENTS), rows, mode="append", partition_by=["event_date"])
    with ThreadPoolExecutor(2) as pool:
        done = [each for found in pool.map(optimize, [root, root]) for each in found]
    assert all(each.is_done for each in done)
    assert len(files_of(root, EVENTS)) == len(days)
    assert sorted(read_arrow(root, EVENTS, ["user_id"])["user_id"].to_pylist()) == [0, 0, 1, 1, 2, 2]


@pytest.mark.fault("a checkpoint truncated or deleted")
@pytest.mark.usefixtures("in_this_process")
def test_a_new_checkpoint_keeps_the_old_ones_beside_it() -> None:
    checkpoint = f"s3a://{BUCKET}/_checkpoints/ingest"
    for number in range(3):
        create_checkpoint(checkpoint, "events", {0: number}, received=number)
        write_file(f"{checkpoint}/offsets/{number}", b"")
    assert (first_offsets(checkpoint), received_count(checkpoint)) == ({0: 2}, 2)
    kept = [f"{checkpoint}.set-aside-{number}" for number in (1, 2)]
    assert [first_offsets(each) for each in kept] == [{0: 0}, {0: 1}]
    assert [file_names(f"{each}/offsets") for each in (*kept, checkpoint)] == [["0"], ["1"], ["2"]]


def test_jars_that_are_missing_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    def job() -> None:
        raise RuntimeError("java.lang.ClassNotFoundException: Class org.apache.hadoop.fs.s3a.S3AFileSystem not found")

    with pytest.raises(SystemExit):
        cli.run(job)
    assert capsys.readouterr().err == "error: Spark has no jars for object storage: run `make s3`.\n"
