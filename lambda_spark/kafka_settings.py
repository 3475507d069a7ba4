"""The settings of the broker: where it is, how its connection is secured, and the topic."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
OnDataLoss = Literal["fail", "continue"]
SaslMechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-512"]


class KafkaSettings(BaseModel):
    """The broker, how its connection is secured, and the topic that both layers read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bootstrap_servers: str
    topic: str = Field(pattern=r"^[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=249)
    partitions: int = Field(ge=1)
    on_data_loss: OnDataLoss
    security_protocol: SecurityProtocol
    sasl_mechanism: SaslMechanism
    # What SCRAM itself separates by stays out of the name.
    username: str | None = Field(default=None, pattern=r"^[^,=\x00-\x1f]+$")
    password: SecretStr | None = Field(default=None, min_length=1)
    password_file: Path | None = None
    ca_file: Path | None = None

    @property
    def is_encrypted(self) -> bool:
        """Say whether the connection goes over TLS."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def has_login(self) -> bool:
        """Say whether a user name and a password are asked for."""
        return self.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    @model_validator(mode="after")
    def _complete(self) -> "KafkaSettings":
        """Refuse what a connection lacks, and what it would pass over without a word."""
        passwords = [value for value in (self.password, self.password_file) if value is not None]
        if self.has_login and (self.username is None or len(passwords) != 1):
            raise ValueError(f"{self.security_protocol} needs username, and one of password and password_file")
        if not self.has_login and (self.username is not None or passwords):
            raise ValueError(
                f"{self.security_protocol} uses no username and no password: set SASL_SSL, or leave them out"
            )
        if self.ca_file is not None and not self.is_encrypted:
            raise ValueError(f"{self.security_protocol} uses no ca_file: set SSL or SASL_SSL, or leave it out")
        return self
