"""The alternatives' own environments: they cannot be installed beside lambda-spark, nor Flink beside the others.

quixstreams wants an older pydantic, pathway an older pyarrow, apache-flink an older py4j, pandas and protobuf. Some of
them have no wheels for Python 3.13 yet, so this is for 3.10 to 3.12.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.process import BenchError, run_unmeasured
from lambda_spark.local.install import IVY_SETTINGS, spark_home, write_trust_store
from lambda_spark.local.java import JAVA
from lambda_spark.settings import PROJECT_ROOT, RUNTIME

HOME = RUNTIME / "bench"
FLINK_CONNECTOR = ("org.apache.flink", "flink-sql-connector-kafka", "5.0.0-2.2")


def python_of(name: str) -> Path:
    """Return the interpreter of the environment `streams` or `flink`, installed from its lock where it is not yet."""
    python, lock = HOME / name / "bin" / "python", PROJECT_ROOT / "requirements" / f"bench-{name}.txt"
    stamp = HOME / name / lock.name
    if not (stamp.exists() and stamp.read_bytes() == lock.read_bytes()):
        print(f"Installing the packages of {lock.name} into {HOME / name} (once, some minutes) ...", flush=True)
        run_unmeasured([sys.executable, "-m", "venv", "--clear", str(HOME / name)], {})
        run_unmeasured([str(python), "-m", "pip", "-qq", "install", "--require-hashes", "-r", str(lock)], {})
        shutil.copy(lock, stamp)
    return python


def site_packages(name: str) -> str:
    """Return where the environment keeps its packages."""
    return str(next((HOME / name / "lib").glob("python*/site-packages")))


def flink_connector() -> Path:
    """Return the jar by which Flink reads Kafka, fetched where it is not there. Raises BenchError without a network."""
    jar = HOME / f"{FLINK_CONNECTOR[1]}-{FLINK_CONNECTOR[2]}.jar"
    if not jar.exists():
        cache = HOME / "ivy"
        cache.mkdir(parents=True, exist_ok=True)
        ivy = [str(JAVA), *write_trust_store(cache / "trust.jks"), f"-Divy.default.ivy.user.dir={cache}", "-cp"]
        ivy += [str(next((spark_home() / "jars").glob("ivy-*.jar"))), "org.apache.ivy.Main", "-settings"]
        ivy += [str(IVY_SETTINGS), "-cache", str(cache), "-dependency", *FLINK_CONNECTOR, "-confs", "default", "-warn"]
        ivy += ["-retrieve", str(HOME / "[artifact]-[revision].[ext]")]
        if subprocess.run(ivy, check=False, stdout=subprocess.DEVNULL).returncode:
            raise BenchError(f"{jar.name} could not be fetched: connect to the network and repeat the command.")
        shutil.rmtree(cache)
    return jar
