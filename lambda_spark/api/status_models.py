"""What /v1/status answers, for its OpenAPI description."""

from datetime import datetime

from lambda_spark.api.models import Answer


class Topic(Answer):
    """The topic; the number of its messages is null where the broker cannot be asked."""

    name: str
    message_count: int | None
    is_reachable: bool


class BatchLayer(Answer):
    """What the batch layer has received and made of it; `upto` is its newest event's time."""

    received: int
    stored: int
    rejected: int
    upto: datetime | None
    committed_at: datetime | None


class SpeedLayer(Answer):
    """What the speed layer has received; `behind` are messages, `lag_s` for how long the oldest of them has waited.

    `stopped_since` is told while they wait for long.
    """

    received: int
    behind: int | None
    lag_s: float | None
    upto: datetime | None
    committed_at: datetime | None
    stopped_since: datetime | None


class Rates(Answer):
    """Messages per second of the last ten; null until they are known."""

    topic: float | None
    batch: float | None
    speed: float | None


class Rejects(Answer):
    """How many messages and lines are no event for a reason."""

    reason: str
    sentence: str
    count: int


class IdentityPart(Answer):
    """What has been compared, and how many rows differ."""

    what: str
    rows: int
    differences: int


class Identity(Answer):
    """The last result of jobs/identity.py."""

    checked_at: datetime
    agrees: bool
    parts: list[IdentityPart]


class Status(Answer):
    """The state of the pipeline."""

    now: datetime
    topic: Topic
    batch: BatchLayer
    speed: SpeedLayer
    events_per_second: Rates
    rejects: list[Rejects]
    identity: Identity | None
