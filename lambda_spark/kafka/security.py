"""The connection settings of the broker, TLS and login included, as options of kafka-python and of Spark's source.

A secret is read when a connection is opened; it enters no command, no error and no table.
"""

import socket
import ssl
from pathlib import Path
from typing import Any

from lambda_spark.errors import SettingsError
from lambda_spark.settings import PROJECT_ROOT, KafkaSettings

_PROBE_SECONDS = 3
_LOGIN_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"

# JAAS reads a quoted text as Java does.
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r"})


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the options of kafka-python's clients.

    Raises SettingsError if a file that the settings name can't be read.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.is_encrypted:
        options["ssl_context"] = _ssl_context(kafka)
    if kafka.has_login:
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.username
        options["sasl_plain_password"] = _password(kafka)
    return options


def spark_options(kafka: KafkaSettings) -> dict[str, str]:
    """Return the options of Spark's Kafka source and sink. Raises SettingsError as client_options does."""
    options = {
        "kafka.bootstrap.servers": kafka.bootstrap_servers,
        "kafka.security.protocol": kafka.security_protocol,
    }
    if kafka.ca_file is not None:
        # The file's content, not its path: executors may have no such file.
        options["kafka.ssl.truststore.type"] = "PEM"
        options["kafka.ssl.truststore.certificates"] = _text("ca_file", kafka.ca_file)
    if kafka.has_login:
        user, password = (_quoted(text) for text in (str(kafka.username), _password(kafka)))
        options["kafka.sasl.mechanism"] = kafka.sasl_mechanism
        options["kafka.sasl.jaas.config"] = f"{_LOGIN_MODULE} required username={user} password={password};"
    return options


def refusal_reason(kafka: KafkaSettings) -> str | None:
    """Return why the server at the broker's address refuses these settings; None if nothing listens there.

    Kafka's clients log the reason at most; their errors don't contain it.
    """
    servers, protocol = kafka.bootstrap_servers, kafka.security_protocol
    if not is_listening(kafka):
        return None
    if failure := tls_failure(kafka):
        return failure
    if kafka.has_login:
        return (
            f"The Kafka broker at {servers} does not let kafka.username = {kafka.username!r} in: check that name, "
            "its password (LAMBDA_KAFKA__PASSWORD or kafka.password_file), "
            f"kafka.sasl_mechanism = {kafka.sasl_mechanism!r} and kafka.security_protocol = {protocol!r}."
        )
    return (
        f"What listens at {servers} takes no connection by kafka.security_protocol = {protocol!r}: set the broker's "
        "own, or name another broker with --bootstrap-servers."
    )


def is_listening(kafka: KafkaSettings) -> bool:
    """Return True if anything listens at one of the broker's addresses."""
    for server in kafka.bootstrap_servers.split(","):
        if connection := _connect(server):
            connection.close()
            return True
    return False


def tls_failure(kafka: KafkaSettings) -> str | None:
    """Return why no server that listens completes a TLS connection; None if one does or the settings ask for no TLS.

    Must be called before a client of kafka-python is created, which would wait forever for a silent server.
    """
    failures = []
    for server in kafka.bootstrap_servers.split(",") if kafka.is_encrypted else ():
        if connection := _connect(server):
            with connection:
                failures.append(_handshake_failure(kafka, connection, _address(server)[0]))
    if not failures or None in failures:
        return None
    return (
        f"The TLS connection to {kafka.bootstrap_servers} failed ({failures[0]}): name the certificate of the broker's "
        f"authority in kafka.ca_file, and see whether kafka.security_protocol = {kafka.security_protocol!r} is right."
    )


def _handshake_failure(kafka: KafkaSettings, connection: socket.socket, host: str) -> str | None:
    try:
        _ssl_context(kafka).wrap_socket(connection, server_hostname=host).close()
    except TimeoutError:
        return f"no answer within {_PROBE_SECONDS} seconds"
    except OSError as error:
        return getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error)
    return None


def _connect(server: str) -> socket.socket | None:
    """Return a connection to the server, None if nothing listens."""
    try:
        return socket.create_connection(_address(server), _PROBE_SECONDS)
    except (OSError, ValueError, OverflowError):
        return None


def _address(server: str) -> tuple[str, int]:
    host, _, port = server.strip().rpartition(":")
    return host.strip("[]"), int(port)


def _ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    authorities = None if kafka.ca_file is None else _text("ca_file", kafka.ca_file)
    try:
        return ssl.create_default_context(cadata=authorities)
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(
            f"kafka.ca_file = {str(kafka.ca_file)!r} holds no certificate: name a file of certificates in PEM."
        ) from error


def _password(kafka: KafkaSettings) -> str:
    """Return the password, from a file without the line break at its end."""
    if kafka.password is not None:
        return kafka.password.get_secret_value()
    assert kafka.password_file is not None, "KafkaSettings checks that there is one of the two"
    password = _text("password_file", kafka.password_file).rstrip("\r\n")
    if not password:
        raise SettingsError(f"kafka.password_file = {str(kafka.password_file)!r} is empty: write the password into it.")
    return password


def _text(name: str, file: Path) -> str:
    try:
        # A relative path is taken from the project's folder, as the data root is.
        return (PROJECT_ROOT / file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        # The error of a decoder contains the bytes that it has read.
        raise SettingsError(
            f"Cannot read kafka.{name} = {str(file)!r} ({reason}): name a file that this user may read."
        ) from None


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'
