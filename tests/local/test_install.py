import os
import re
import ssl
import subprocess
from pathlib import Path

import pytest

from lambda_spark.errors import SetUpError
from lambda_spark.local import install, java


def test_java_trusts_every_authority_that_the_system_trusts(tmp_path: Path) -> None:
    store = tmp_path / "trust.jks"
    if not install.write_trust_store(store):
        pytest.skip("this system has none of the usual bundles of certificate authorities")
    keytool = [java.JAVA, "-m", "java.base/sun.security.tools.keytool.Main", "-list", "-keystore", store]
    listed = subprocess.run(keytool, input="\n", capture_output=True, text=True, check=True).stdout
    bundle = ssl.create_default_context()
    for path in filter(os.path.exists, install.CA_BUNDLES):
        bundle.load_verify_locations(path)
    assert listed.count("trustedCertEntry") == len(bundle.get_ca_certs()) > 0


def test_resolved_jars_are_not_resolved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "JAVA", Path("/nowhere/java"))
    install.resolve_jars(install.spark_home(), install.IVY_MODULE, install.JARS, "nothing")


def test_a_failed_download_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_here = tmp_path / "ivysettings.xml"
    nothing_here.write_text(
        '<ivysettings><settings defaultResolver="empty"/><resolvers><filesystem name="empty">'
        f'<artifact pattern="{tmp_path}/[artifact].[ext]"/></filesystem></resolvers></ivysettings>'
    )
    monkeypatch.setattr(install, "IVY_SETTINGS", nothing_here)
    monkeypatch.setattr(install, "RUNTIME", tmp_path / "runtime")
    monkeypatch.setattr(install, "JARS", tmp_path / "runtime" / "jars")
    with pytest.raises(SetUpError, match=r"connect to the network and run `make setup` \(.*ivy.log says more\)"):
        install.resolve_jars(install.spark_home(), install.IVY_MODULE, install.JARS, "nothing")
    assert "UNRESOLVED DEPENDENCIES" in (tmp_path / "runtime" / "ivy" / "ivy.log").read_text()


def test_spark_has_links_to_the_present_jars_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_folder_with_a_space_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "PROJECT_ROOT", Path("/home/me/my shop"))
    with pytest.raises(SetUpError, match="a space in its path: move /home/me/my shop"):
        install.install()


def test_no_jar_of_spark_is_there_twice() -> None:
    def name_of(jar: Path) -> str:
        return re.sub(r"-\d[\w.-]*\.jar$", "", jar.name)

    jars = list((install.spark_home() / "jars").glob("*.jar"))
    own = {name_of(jar) for jar in jars if jar.is_symlink()}
    assert "delta-spark_4.2_2.13" in own
    assert not own & {name_of(jar) for jar in jars if not jar.is_symlink()}
