"""What the figures were measured on."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

import psutil

from bench.environments import HOME, site_packages
from lambda_spark.local.java import JAVA
from lambda_spark.settings import PROJECT_ROOT


def machine() -> str:
    """Describe the machine: processor, cores, memory, kernel, Java, Python."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = found.group(1) if found else platform.processor() or platform.machine()
    java = subprocess.run([str(JAVA), "-version"], capture_output=True, text=True, check=True).stderr
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{processor}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Java {java.split(chr(34))[1]}, Python {platform.python_version()}"
    )


def versions(packages: Sequence[str]) -> str:
    """Name the packages with their versions, wherever they are installed."""
    found = dict(_installed(packages))
    return ", ".join(f"{name} {found[name]}" for name in packages if name in found)


def commit() -> str:
    """Return the commit that is measured, with a + where files have been changed since."""
    command = ["git", "-C", str(PROJECT_ROOT), "describe", "--always", "--dirty=+"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _installed(packages: Sequence[str]) -> Iterable[tuple[str, str]]:
    for name in ("flink", "streams"):
        if (HOME / name).exists():
            yield from _versions(packages, distributions(path=[site_packages(name)]))
    yield from _versions(packages, distributions())


def _versions(packages: Sequence[str], found: Iterable[Distribution]) -> Iterable[tuple[str, str]]:
    for package in found:
        name = str(package.metadata["Name"]).lower().replace("_", "-")
        if name in packages:
            yield name, package.version
