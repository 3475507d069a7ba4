"""Archives of the classes that Spark, Delta and Kafka load: with them a job starts in half the time.

Java makes them itself, when a run of the whole pipeline over a small month ends (class data sharing).
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from lambda_spark.java import CLASS_ARCHIVES, JAVA, MAKE_CLASS_ARCHIVES
from lambda_spark.synthetic import write_month

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
    command = [sys.executable, "-m", "lambda_spark.demo", "--events", str(events)]
    # The settings of the moment may be those of another broker, with a login of its own.
    usual = {name: value for name, value in os.environ.items() if not name.startswith("LAMBDA_")}
    environment = {**usual, **own, MAKE_CLASS_ARCHIVES: "yes"}
    return subprocess.run(
        command, env=environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout
