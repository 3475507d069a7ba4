import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lambda_spark.local.install import spark_home
from lambda_spark.local.java import JAVA
from lambda_spark.settings import PROJECT_ROOT

pytestmark = pytest.mark.slow

ENVIRONMENT = PROJECT_ROOT / ".venv" / "bin"
JOB = """
    import sys
    from pathlib import Path
    from lambda_spark.session import get_spark

    spark = get_spark("job")
    spark.range(3).mapInPandas(lambda batches: batches, "id long").write.format("delta").save(sys.argv[1])
    print(spark.read.format("delta").load(sys.argv[1]).count(), spark.conf.get("spark.sql.session.timeZone"))
"""
FAILING_JOB = """
    from lambda_spark.errors import SetUpError
    from lambda_spark.session import get_spark

    try:
        get_spark("job")
    except SetUpError as error:
        print(error)
"""


def run(
    command: list[str], code: str, folder: Path, *arguments: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run the code in an empty folder, an empty home and an environment with nothing but PATH and these variables."""
    script, home = folder / "job.py", folder / "home"
    script.write_text(textwrap.dedent(code))
    home.mkdir()
    surroundings = {"PATH": f"{ENVIRONMENT}:{os.environ['PATH']}", "HOME": str(home), **variables}
    job = [*command, str(script), *arguments]
    return subprocess.run(job, check=False, cwd=home, env=surroundings, capture_output=True, text=True, timeout=200)


def test_a_job_needs_no_variable_and_prints_nothing_but_its_own(tmp_path: Path) -> None:
    def run_job(command: str) -> None:
        folder = tmp_path / Path(command).name
        folder.mkdir()
        done = run([command], JOB, folder, str(folder / "table"))
        assert (done.stdout, done.stderr, done.returncode) == ("3 UTC\n", "", 0)
        assert list((folder / "home").iterdir()) == []

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run_job, [sys.executable, "spark-submit"]))


def test_a_missing_configuration_is_one_sentence(tmp_path: Path) -> None:
    done = run([sys.executable], FAILING_JOB, tmp_path, SPARK_CONF_DIR=str(tmp_path), JAVA_HOME=str(JAVA.parent.parent))
    assert done.stdout.splitlines()[-1] == "Spark has not read conf/spark-defaults.conf: run `make setup`."


def test_a_missing_java_is_one_sentence(tmp_path: Path) -> None:
    done = run([sys.executable], FAILING_JOB, tmp_path, SPARK_CONF_DIR=str(tmp_path), JAVA_HOME="/nowhere")
    assert done.stdout == "Spark could not start, since it finds no Java 17 or newer: run `make setup`.\n"


def test_a_missing_delta_jar_is_one_sentence(tmp_path: Path) -> None:
    without_delta = tmp_path / "spark"
    (without_delta / "jars").mkdir(parents=True)
    for name in ("bin", "conf", "python"):
        (without_delta / name).symlink_to(spark_home() / name)
    for jar in (spark_home() / "jars").glob("*.jar"):
        if not jar.is_symlink():
            (without_delta / "jars" / jar.name).symlink_to(jar)
    done = run([sys.executable], FAILING_JOB, tmp_path, SPARK_HOME=str(without_delta))
    assert done.stdout == "Spark finds no jar of Delta Lake: run `make setup`.\n"
