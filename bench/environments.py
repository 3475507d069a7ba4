"""The environments of a measurement: the machine, the versions, the alternatives' own virtual environments.

The alternatives can't be installed beside lambda-spark, nor Flink beside the others: quixstreams needs an older
pydantic, pathway an older pyarrow, apache-flink an older py4j, pandas and protobuf. Some of them have no wheels for
Python 3.13 yet, so this needs 3.10 to 3.12.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

import psutil

from lambda_spark.local.install import run_ivy, spark_home
from lambda_spark.local.java import JAVA
from lambda_spark.local.processes import run_command
from lambda_spark.settings import PROJECT_ROOT, RUNTIME

HOME = RUNTIME / "bench"
FLINK_CONNECTOR = ("org.apache.flink", "flink-sql-connector-kafka", "5.0.0-2.2")


def machine() -> str:
    """Return a line about the machine: processor, cores, memory, kernel, Java, Python."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = found.group(1) if found else platform.processor() or platform.machine()
    java = subprocess.run([str(JAVA), "-version"], capture_output=True, text=True, check=True).stderr
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{processor}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Java {java.split(chr(34))[1]}, Python {platform.python_version()}"
    )


def versions(packages: Sequence[str]) -> str:
    """Return the packages with their versions, in whichever environment they are installed."""
    found = dict(_installed(packages))
    return ", ".join(f"{name} {found[name]}" for name in packages if name in found)


def commit() -> str:
    """Return the commit that is measured, with a + if files have been changed since."""
    command = ["git", "-C", str(PROJECT_ROOT), "describe", "--always", "--dirty=+"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def python_of(name: str) -> Path:
    """Return the interpreter of the environment `streams` or `flink`; install it from its lock if it isn't current."""
    python, lock = HOME / name / "bin" / "python", PROJECT_ROOT / "requirements" / f"bench-{name}.txt"
    stamp = HOME / name / lock.name
    if not (stamp.exists() and stamp.read_bytes() == lock.read_bytes()):
        print(f"Installing the packages of {lock.name} into {HOME / name} (once, some minutes) ...", flush=True)
        run_command([sys.executable, "-m", "venv", "--clear", str(HOME / name)])
        run_command([str(python), "-m", "pip", "-qq", "install", "--require-hashes", "-r", str(lock)])
        shutil.copy(lock, stamp)
    return python


def flink_connector() -> Path:
    """Return the jar with which Flink reads Kafka; fetch it if it isn't there. Raises SetUpError without a network."""
    jar = HOME / f"{FLINK_CONNECTOR[1]}-{FLINK_CONNECTOR[2]}.jar"
    if not jar.exists():
        pattern = HOME / "[artifact]-[revision].[ext]"
        run_ivy(spark_home(), pattern, "-dependency", *FLINK_CONNECTOR, "-confs", "default")
    return jar


def _installed(packages: Sequence[str]) -> Iterable[tuple[str, str]]:
    for name in ("flink", "streams"):
        if (HOME / name).exists():
            yield from _versions(packages, distributions(path=[_site_packages(name)]))
    yield from _versions(packages, distributions())


def _versions(packages: Sequence[str], found: Iterable[Distribution]) -> Iterable[tuple[str, str]]:
    for package in found:
        name = str(package.metadata["Name"]).lower().replace("_", "-")
        if name in packages:
            yield name, package.version


def _site_packages(name: str) -> str:
    return str(next((HOME / name / "lib").glob("python*/site-packages")))
