"""The settings: conf/lambda.toml has every default, the environment (LAMBDA_*) and job options override it."""

import logging
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from lambda_spark.errors import SettingsError
from lambda_spark.schemas import checked_uri, is_local

_CONFIG = Path("conf", "lambda.toml")

# Searched upwards, since the package may be inside the project's dist/lambda_spark.zip, which Spark puts first.
PROJECT_ROOT = next((folder for folder in Path(__file__).resolve().parents if (folder / _CONFIG).is_file()), Path.cwd())
CONFIG_FILE = PROJECT_ROOT / _CONFIG

# Java, jars and the local broker, which `make` fetches and starts.
RUNTIME = PROJECT_ROOT / ".runtime"

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-512"]
OnDataLoss = Literal["fail", "continue"]
RankBy = Literal["trend_score", "total_pct_increase", "events"]
CountBy = Literal["events", "users"]
EventType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Trigger = Annotated[str, Field(pattern=r"^\d+ (millisecond|second|minute|hour)s?$")]
Order = Literal["relevance", "trend-rank"]
LeaveOut = Literal["purchased", "seen", "none"]

# The old word for trend-rank, accepted for one release.
_OLD_TREND_RANK = "origin"

# The value of a setting with such a name is never shown, even if the name is misspelt.
_SECRET = re.compile(r"pass|pwd|secret|token|credential|://.*@", re.IGNORECASE)

_log = logging.getLogger(__name__)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """The broker, how its connection is secured, and the topic that both layers read."""

    bootstrap_servers: str
    topic: str = Field(pattern=r"^[A-Za-z0-9._-]*[A-Za-z0-9_-][A-Za-z0-9._-]*$", max_length=249)
    partitions: int = Field(ge=1)
    on_data_loss: OnDataLoss
    security_protocol: SecurityProtocol
    sasl_mechanism: SaslMechanism
    # Without the characters that separate the fields of a SCRAM message.
    username: str | None = Field(default=None, pattern=r"^[^,=\x00-\x1f]+$")
    password: SecretStr | None = Field(default=None, min_length=1)
    password_file: Path | None = None
    ca_file: Path | None = None

    @property
    def is_encrypted(self) -> bool:
        """Return True if the connection uses TLS."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def has_login(self) -> bool:
        """Return True if the broker asks for a user name and a password."""
        return self.security_protocol in ("SASL_PLAINTEXT", "SASL_SSL")

    @model_validator(mode="after")
    def _complete(self) -> "KafkaSettings":
        """Refuse settings that the connection lacks, and those that it would silently ignore."""
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


class IngestSettings(_Section):
    """How ingest reads the topic into the master dataset."""

    trigger: Trigger
    max_messages_per_trigger: int = Field(ge=1)


class SpeedSettings(_Section):
    """The state and the micro-batches of the speed layer."""

    shards: int = Field(ge=1)
    state_partitions: int = Field(ge=1)
    max_messages_per_trigger: int = Field(ge=1)
    trigger: Trigger


class BrandSettings(_Section):
    """Which events count as browsing a brand, and how many brands are kept for a user."""

    event_types: tuple[EventType, ...]
    limit: int = Field(ge=1)


class Weights(_Section):
    """The weight of each event type in the count behind a trend; `other` is for all types that have no field here."""

    view: float = Field(ge=0)
    cart: float = Field(ge=0)
    remove_from_cart: float = Field(ge=0)
    purchase: float = Field(ge=0)
    other: float = Field(ge=0)


class TrendSettings(_Section):
    """The trend rule; smoothing and support follow the shop's size if `smoothing` and `min_events` are None."""

    days: int = Field(ge=1)
    bucket: str
    rank_by: RankBy
    count_by: CountBy
    top: int = Field(ge=1)
    smoothing: float | None = Field(default=None, gt=0)
    min_events: int | None = Field(default=None, ge=0)
    weights: Weights


class RecommendationSettings(_Section):
    """The recommendation rule."""

    order: Order
    top_trends: int = Field(ge=1)
    per_user: int = Field(ge=1)
    per_brand: int = Field(ge=1)
    leave_out: LeaveOut
    fallback: bool

    @field_validator("order", mode="before")
    @classmethod
    def _accept_old_word(cls, value: Any) -> Any:
        if value != _OLD_TREND_RANK:
            return value
        _note_old_word()
        return "trend-rank"


class ServeSettings(_Section):
    """Where the API and its page are served, to whom, and within which limits."""

    host: str
    port: int = Field(ge=0, le=65_535)
    token: SecretStr | None = Field(default=None, min_length=16)
    cors_origins: tuple[str, ...]
    requests_per_second: int = Field(ge=1)
    deadline_seconds: float = Field(gt=0)

    @property
    def is_loopback(self) -> bool:
        """Return True if only this machine can reach it."""
        return self.host in ("127.0.0.1", "::1", "localhost")


class Settings(BaseSettings):
    """All settings. Precedence: job options, then LAMBDA_* variables, then conf/lambda.toml."""

    model_config = SettingsConfigDict(
        env_prefix="LAMBDA_",
        env_nested_delimiter="__",
        toml_file=CONFIG_FILE,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    data_root: str
    kafka: KafkaSettings
    ingest: IngestSettings
    speed: SpeedSettings
    brands: BrandSettings
    trends: TrendSettings
    recommendations: RecommendationSettings
    serve: ServeSettings

    @field_validator("data_root", mode="before")
    @classmethod
    def _from_project_root(cls, value: str | Path) -> str:
        root = str(value)
        if not is_local(root):
            return checked_uri(root)
        if not root.strip() or not root.isprintable():
            raise ValueError("name a folder, or a URI such as s3a://BUCKET/FOLDER")
        return str(PROJECT_ROOT / root)

    @property
    def local_root(self) -> Path:
        """Return the folder for everything but tables: the local broker's data, a generated month, reports."""
        return Path(self.data_root) if is_local(self.data_root) else PROJECT_ROOT / "data"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read options first, then the environment, then the file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load_settings(**overrides: Any) -> Settings:
    """Load the settings; `overrides` are the values of job options, nested as in the file, e.g. kafka={"topic": "x"}.

    Raises SettingsError, which names each bad setting and its value. Logs a warning for a value whose word is outdated.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = "; ".join(
            f"{_name(problem)} = {_shown(problem)}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise SettingsError(f"Cannot use these settings: {problems}. Every setting is in {CONFIG_FILE}.") from error
    except ValueError as error:
        # A file that isn't TOML, or a list or table in the environment that isn't JSON.
        unreadable = _without_secrets(getattr(error.__cause__, "doc", str(CONFIG_FILE)))
        remedy = f'write lists as in ["view", "cart"]; every setting is in {CONFIG_FILE}.'
        raise SettingsError(f"Cannot read {unreadable!r} as settings ({error}): {remedy}") from error


@cache
def _note_old_word() -> None:
    """Log once per process that the order has a new word."""
    _log.warning(
        'recommendations.order = "%s" is now called "trend-rank": write that instead, the old word is accepted for one '
        "release.",
        _OLD_TREND_RANK,
    )


def _name(problem: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in problem["loc"])


def _shown(problem: Mapping[str, Any]) -> str:
    """Return the bad value, or dots if it may be a secret."""
    return "…" if _SECRET.search(_name(problem)) else repr(_without_secrets(problem["input"]))


def _without_secrets(value: Any) -> Any:
    return "…" if _SECRET.search(str(value)) else value
