"""The part of the set-up that pip cannot do: Java, Spark's conf folder, the jars and the archives of their classes.

Run by `make setup` and by `make s3`, which adds object storage; whatever is there already is kept. Own code: the jars
must be there before Spark starts, offline from then on, so Ivy runs here instead of in spark-submit; and no dependency
writes a Java key store.
"""

import importlib.util
import os
import shutil
import ssl
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from lambda_spark.errors import SetUpError
from lambda_spark.local.java import (
    CLASS_ARCHIVES,
    JARS,
    JAVA,
    MAKE_CLASS_ARCHIVES,
    S3_JARS,
    find_java,
    install_java,
    wrap_java,
)
from lambda_spark.local.processes import free_address
from lambda_spark.local.synthetic import write_month
from lambda_spark.settings import PROJECT_ROOT, RUNTIME

IVY_MODULE = PROJECT_ROOT / "conf" / "ivy.xml"
IVY_MODULE_S3 = PROJECT_ROOT / "conf" / "ivy-s3.xml"
IVY_SETTINGS = PROJECT_ROOT / "conf" / "ivysettings.xml"
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_ARCHIVED_EVENTS = 5_000
_LOG_FILE = "last-run.log"


def spark_home() -> Path:
    """Return the folder of the installed pyspark package. Raises SetUpError if there is none."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise SetUpError(f"pyspark is not installed for {sys.executable}: run `make setup`.")
    return Path(spec.origin).parent


def spark_submit() -> str:
    """Return the path of spark-submit. Raises SetUpError if pyspark isn't installed."""
    return str(spark_home() / "bin" / "spark-submit")


def write_trust_store(path: Path) -> list[str]:
    """Write the system's certificate authorities as a Java key store; return the options that make Java use it.

    A Java runtime has its own list, without the authorities that an organisation has added to the system's.
    """
    context = ssl.create_default_context()
    for bundle in filter(os.path.exists, CA_BUNDLES):
        context.load_verify_locations(bundle)
    certificates = context.get_ca_certs(binary_form=True)
    if not certificates:
        return []

    def text(value: str) -> bytes:
        return struct.pack(">H", len(value)) + value.encode()

    with path.open("wb") as store:
        store.write(struct.pack(">III", 0xFEEDFEED, 2, len(certificates)))
        for number, certificate in enumerate(certificates):
            store.write(struct.pack(">I", 2) + text(str(number)) + struct.pack(">Q", 0) + text("X.509"))
            store.write(struct.pack(">I", len(certificate)) + certificate)
        store.write(bytes(20))  # the digest, which Java checks only if there is a password
    return [f"-Djavax.net.ssl.trustStore={path}", "-Djavax.net.ssl.trustStoreType=JKS"]


def resolve_jars(home: Path, module: Path, folder: Path, what: str) -> None:
    """Fetch the jars of an Ivy file into `<folder>/<configuration>`, unless they are those of the present file.

    Raises SetUpError if Maven Central can't be reached.
    """
    stamp = folder / module.name
    if stamp.exists() and stamp.read_bytes() == module.read_bytes():
        return
    print(f"Fetching the jars of {what} once ...", flush=True)
    run_ivy(home, folder / "[conf]" / "[artifact]-[revision](-[classifier]).[ext]", "-ivy", str(module), "-sync")
    shutil.copy(module, stamp)


def run_ivy(home: Path, retrieved: Path, *options: str) -> None:
    """Run the Ivy that comes with Spark and retrieve files into places of that pattern.

    Raises SetUpError if Maven Central can't be reached.
    """
    cache = RUNTIME / "ivy"
    cache.mkdir(parents=True, exist_ok=True)
    ivy = [str(JAVA), *write_trust_store(cache / "trust.jks"), f"-Divy.default.ivy.user.dir={cache}"]
    ivy += ["-cp", str(next((home / "jars").glob("ivy-*.jar"))), "org.apache.ivy.Main", "-cache", str(cache)]
    ivy += ["-settings", str(IVY_SETTINGS), "-warn", *options, "-retrieve", str(retrieved)]
    done = subprocess.run(ivy, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        log = cache / "ivy.log"
        log.write_text(done.stdout)
        raise SetUpError(
            f"The jars could not be fetched: connect to the network and run `make setup` ({log} says more)."
        )
    shutil.rmtree(cache)


def link_into_spark(home: Path) -> None:
    """Link the project's conf folder and jars into pyspark, so that every start of Spark finds them without options."""
    links = {home / "conf": PROJECT_ROOT / "conf"}
    links |= {home / "jars" / jar.name: jar for jar in (JARS / "spark").glob("*.jar")}
    for path in [home / "conf", *(home / "jars").iterdir()]:
        if path.is_symlink() and links.get(path) != path.readlink():
            path.unlink()
    for path, target in links.items():
        if not path.is_symlink():
            path.symlink_to(target)


def make_class_archives(jars: Iterable[Path]) -> None:
    """Archive the classes that Spark, Delta and Kafka load, unless Java and the jars are those of the last time.

    A job starts in half the time with the archives (class data sharing), and runs without them too.
    """
    stamp, content = CLASS_ARCHIVES / "made-of", _archived(jars)
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


def _archived(jars: Iterable[Path]) -> str:
    version = subprocess.run([JAVA, "-version"], capture_output=True, text=True, check=True).stderr
    return "\n".join([version, *sorted(str(jar.resolve()) for jar in jars)])


def _run_pipeline(folder: Path) -> str:
    """Run the demo on a small month in the folder; return its output, once every Java that it started has ended."""
    events = folder / "events.csv"
    write_month(events, events=_ARCHIVED_EVENTS)
    # The settings of the caller may name another broker, with a login.
    usual = {name: value for name, value in os.environ.items() if not name.startswith("LAMBDA_")}
    own = {"LAMBDA_DATA_ROOT": str(folder / "data"), "LAMBDA_KAFKA__BOOTSTRAP_SERVERS": free_address()}
    return subprocess.run(
        [sys.executable, "-m", "lambda_spark.local.demo", "--events", str(events)],
        env={**usual, **own, MAKE_CLASS_ARCHIVES: "yes"},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


def install() -> None:
    """Set up Java, the jars, the links and the class archives. Raises SetUpError."""
    if " " in str(PROJECT_ROOT):
        raise SetUpError(f"Spark's own scripts fail in a folder with a space in its path: move {PROJECT_ROOT}.")
    wrap_java(find_java() or install_java())
    home = spark_home()
    resolve_jars(home, IVY_MODULE, JARS, "Delta, Spark's Kafka source and the broker (70 MB)")
    link_into_spark(home)
    make_class_archives([*(home / "jars").iterdir(), *(JARS / "broker").iterdir()])


def install_s3() -> None:
    """Fetch the jars for a data root on object storage, which conf/spark-env.sh adds to Spark. Raises SetUpError."""
    resolve_jars(spark_home(), IVY_MODULE_S3, S3_JARS, "object storage (13 MB)")


if __name__ == "__main__":
    try:
        install()
        if sys.argv[1:] == ["s3"]:
            install_s3()
    except SetUpError as error:
        sys.exit(str(error))
