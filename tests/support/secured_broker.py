"""A real broker that requires TLS and a login, and the settings that its clients need."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from helpers import PATIENCE
from kafka import KafkaAdminClient
from kafka.admin import UserScramCredentialUpsertion

from lambda_spark.local.broker import CLUSTER_ID, CONFIG, JAVA_COMMAND, is_reachable
from lambda_spark.local.java import JAVA
from lambda_spark.local.processes import free_address, start_daemon, stop_daemon, wait_until

MECHANISM = "SCRAM-SHA-512"
_KEYTOOL = [str(JAVA), "-m", "java.base/sun.security.tools.keytool.Main"]
_STORE = ["-alias", "broker", "-storetype", "PKCS12", "-storepass", "of-this-test"]


class SecuredBroker(NamedTuple):
    """The address for clients with a login over TLS, and the certificate to trust."""

    bootstrap_servers: str
    ca_file: Path


@contextmanager
def secured_broker(folder: Path, user: str, password: str) -> Iterator[SecuredBroker]:
    """Run such a broker, with this user, inside the block."""
    inside, outside, controller = free_address(), free_address(), free_address()
    store, ca_file, config = folder / "broker.p12", folder / "ca.pem", folder / "server.properties"
    key = ["-keyalg", "EC", "-dname", "CN=broker", "-ext", "san=ip:127.0.0.1", "-ext", "bc:c"]
    _run([*_KEYTOOL, "-genkeypair", *_STORE, *key, "-keystore", str(store)])
    _run([*_KEYTOOL, "-exportcert", "-rfc", *_STORE, "-keystore", str(store), "-file", str(ca_file)])
    config.write_text(f"""{CONFIG.read_text()}
log.dirs={folder / "log"}
listeners=INSIDE://{inside},OUTSIDE://{outside},CONTROLLER://{controller}
controller.quorum.voters=1@{controller}
inter.broker.listener.name=INSIDE
listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms={MECHANISM}
listener.name.outside.{MECHANISM.lower()}.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PKCS12
ssl.keystore.location={store}
ssl.keystore.password=of-this-test
""")
    _run([*JAVA_COMMAND, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", str(config)])
    start_daemon(folder / "broker.pid", lambda: [*JAVA_COMMAND, "kafka.Kafka", str(config)])
    try:
        assert wait_until(lambda: is_reachable(inside), PATIENCE), (folder / "broker.log").read_text()
        admin = KafkaAdminClient(bootstrap_servers=inside)
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion(user, MECHANISM, password)])
        admin.close()
        yield SecuredBroker(outside, ca_file)
    finally:
        stop_daemon(folder / "broker.pid")


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)
