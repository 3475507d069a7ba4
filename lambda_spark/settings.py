"""The settings: conf/lambda.toml holds every default, the environment (LAMBDA_*) and job options override it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from lambda_spark.errors import SettingsError
from lambda_spark.storage import is_local

_CONFIG = Path("conf", "lambda.toml")
# Looked for upwards, since the package may lie in the project's dist/lambda_spark.zip, which Spark puts first.
PROJECT_ROOT = next((folder for folder in Path(__file__).resolve().parents if (folder / _CONFIG).is_file()), Path.cwd())
CONFIG_FILE = PROJECT_ROOT / _CONFIG

RankBy = Literal["trend_score", "total_pct_increase", "events"]
CountBy = Literal["events", "users"]
EventType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Trigger = Annotated[str, Field(pattern=r"^\d+ (millisecond|second|minute|hour)s?$")]
Order = Literal["relevance", "origin"]
OnDataLoss = Literal["fail", "continue"]
LeaveOut = Literal["purchased", "seen", "none"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """The broker and the topic that both layers read."""

    bootstrap_servers: str
    topic: str = Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")
    partitions: int = Field(ge=1)
    on_data_loss: OnDataLoss


class IngestSettings(_Section):
    """How the master dataset is fed."""

    trigger: Trigger

    max_messages_per_trigger: int = Field(ge=1)


class SpeedSettings(_Section):
    """The speed layer's state and rhythm."""

    shards: int = Field(ge=1)
    state_partitions: int = Field(ge=1)
    max_messages_per_trigger: int = Field(ge=1)
    trigger: Trigger


class BrandSettings(_Section):
    """What counts as browsing a brand, and how many brands are kept for a user."""

    event_types: tuple[EventType, ...]
    limit: int = Field(ge=1)


class Weights(_Section):
    """The weight of each event type in the count behind a trend; `other` is that of all types without a name here."""

    view: float = Field(ge=0)
    cart: float = Field(ge=0)
    remove_from_cart: float = Field(ge=0)
    purchase: float = Field(ge=0)
    other: float = Field(ge=0)


class TrendSettings(_Section):
    """The trend rule; smoothing and support follow the shop's size where `smoothing` and `min_events` are None."""

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


class ServeSettings(_Section):
    """Where the API and its page are served, to whom, and how much is asked of the machine."""

    host: str
    port: int = Field(ge=0, le=65_535)
    token: SecretStr | None = Field(default=None, min_length=16)
    cors_origins: tuple[str, ...]
    requests_per_second: int = Field(ge=1)
    deadline_seconds: float = Field(gt=0)

    @property
    def is_loopback(self) -> bool:
        """Say whether only this machine can reach it."""
        return self.host in ("127.0.0.1", "::1", "localhost")


class Settings(BaseSettings):
    """All settings. Precedence: job options, then LAMBDA_* variables, then conf/lambda.toml."""

    model_config = SettingsConfigDict(
        env_prefix="LAMBDA_", env_nested_delimiter="__", toml_file=CONFIG_FILE, extra="forbid", frozen=True
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
        return str(PROJECT_ROOT / value) if is_local(str(value)) else str(value).rstrip("/")

    @property
    def local_root(self) -> Path:
        """Return the folder for what is no table: the local broker's data, a generated month, reports."""
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

    Raises SettingsError, which names each bad setting and its value.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])} = {_shown(problem)}: {problem['msg']}"
            for problem in error.errors()
        )
        raise SettingsError(f"Cannot use these settings: {problems}. Every setting is in {CONFIG_FILE}.") from error
    except ValueError as error:
        # A file that is no TOML, or a list or table in the environment that is no JSON.
        unreadable = getattr(error.__cause__, "doc", str(CONFIG_FILE))
        remedy = f'write lists as in ["view", "cart"]; every setting is in {CONFIG_FILE}.'
        raise SettingsError(f"Cannot read {unreadable!r} as settings ({error}): {remedy}") from error


def _shown(problem: Mapping[str, Any]) -> str:
    """Return the bad value, unless nobody is to read it."""
    return "…" if "token" in problem["loc"] else repr(problem["input"])
