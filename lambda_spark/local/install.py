"""The part of the set-up that pip cannot do: Java, Spark's conf folder, the jars and their archive.

Run by `make setup`, as often as one likes: what is there already stays as it is. `make s3` adds object storage.
"""

import importlib.util
import os
import shutil
import ssl
import struct
import subprocess
import sys
from pathlib import Path

from lambda_spark.errors import SetUpError
from lambda_spark.local.java import (
    JARS,
    JAVA,
    S3_JARS,
    find_java,
    install_java,
    make_class_archives,
    wrap_java,
)
from lambda_spark.settings import PROJECT_ROOT, RUNTIME

IVY_MODULE = PROJECT_ROOT / "conf" / "ivy.xml"
IVY_MODULE_S3 = PROJECT_ROOT / "conf" / "ivy-s3.xml"
IVY_SETTINGS = PROJECT_ROOT / "conf" / "ivysettings.xml"
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def spark_home() -> Path:
    """Return the folder of the installed pyspark package."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise SetUpError(f"pyspark is not installed for {sys.executable}: run `make setup`.")
    return Path(spec.origin).parent


def spark_submit() -> str:
    """Return the path of its spark-submit."""
    return str(spark_home() / "bin" / "spark-submit")


def write_trust_store(path: Path) -> list[str]:
    """Write the system's certificate authorities as a Java key store; return the options that make Java use it.

    A Java runtime brings its own list, which lacks what an organisation has added to the system's.
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
        store.write(bytes(20))  # the digest, which is only looked at where there is a password
    return [f"-Djavax.net.ssl.trustStore={path}", "-Djavax.net.ssl.trustStoreType=JKS"]


def resolve_jars(home: Path, module: Path, folder: Path, what: str) -> None:
    """Fetch the jars of an Ivy file into `<folder>/<configuration>`, unless they are those of this very file.

    Raises SetUpError where Maven Central cannot be reached.
    """
    stamp = folder / module.name
    if stamp.exists() and stamp.read_bytes() == module.read_bytes():
        return
    print(f"Fetching the jars of {what} once ...", flush=True)
    cache = RUNTIME / "ivy"
    cache.mkdir(parents=True, exist_ok=True)
    ivy = [str(JAVA), *write_trust_store(cache / "trust.jks"), f"-Divy.default.ivy.user.dir={cache}"]
    ivy += ["-cp", str(next((home / "jars").glob("ivy-*.jar"))), "org.apache.ivy.Main", "-cache", str(cache)]
    ivy += ["-settings", str(IVY_SETTINGS), "-ivy", str(module), "-warn"]
    ivy += ["-sync", "-retrieve", str(folder / "[conf]" / "[artifact]-[revision](-[classifier]).[ext]")]
    done = subprocess.run(ivy, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        log = cache / "ivy.log"
        log.write_text(done.stdout)
        raise SetUpError(
            f"The jars could not be fetched: connect to the network and run `make setup` ({log} says more)."
        )
    shutil.copy(module, stamp)
    shutil.rmtree(cache)


def link_into_spark(home: Path) -> None:
    """Let every start of Spark find the project's conf folder and jars, with no option and no environment variable."""
    links = {home / "conf": PROJECT_ROOT / "conf"}
    links |= {home / "jars" / jar.name: jar for jar in (JARS / "spark").glob("*.jar")}
    for path in [home / "conf", *(home / "jars").iterdir()]:
        if path.is_symlink() and links.get(path) != path.readlink():
            path.unlink()
    for path, target in links.items():
        if not path.is_symlink():
            path.symlink_to(target)


def install() -> None:
    """Do all of it. Raises SetUpError."""
    if " " in str(PROJECT_ROOT):
        raise SetUpError(f"Spark's own scripts fail in a folder with a space in its path: move {PROJECT_ROOT}.")
    wrap_java(find_java() or install_java())
    home = spark_home()
    resolve_jars(home, IVY_MODULE, JARS, "Delta, Spark's Kafka source and the broker (70 MB)")
    link_into_spark(home)
    make_class_archives([*(home / "jars").iterdir(), *(JARS / "broker").iterdir()])


def install_s3() -> None:
    """Fetch what a data root on object storage needs. conf/spark-env.sh adds it to Spark. Raises SetUpError."""
    resolve_jars(spark_home(), IVY_MODULE_S3, S3_JARS, "object storage (13 MB)")


if __name__ == "__main__":
    try:
        install()
        if sys.argv[1:] == ["s3"]:
            install_s3()
    except SetUpError as error:
        sys.exit(str(error))
