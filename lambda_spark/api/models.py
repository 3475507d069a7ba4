"""The JSON of answers: models for the OpenAPI description, which tests check the answers against, and the encoding.

Routes encode plain dictionaries instead of these models, which saves a validation per answer.
"""

from datetime import datetime
from typing import Annotated, Literal

import orjson
from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

_ENCODING = orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY

# Text, since JavaScript rounds integers above 2^53.
Id = Annotated[str, Field(pattern=r"^-?[0-9]{1,19}$", examples=["512006836"])]


def render(content: object, status: int = 200, media_type: str = "application/json") -> Response:
    """Return the JSON response with this content."""
    return Response(to_json(content), status, media_type=media_type)


def to_json(content: object) -> bytes:
    """Return the content as JSON, with instants in UTC that end in Z."""
    return orjson.dumps(content, option=_ENCODING)


class Answer(BaseModel):
    """An answer or a part of one, without further fields."""

    model_config = ConfigDict(extra="forbid")


class Freshness(Answer):
    """How fresh an answer is: the event time of the newest event of the batch layer, and of either layer.

    `lag_s` is how long the oldest message that the speed layer has not processed has been waiting, in seconds; null if
    the broker is not available. `notes` are sentences for people.
    """

    batch_upto: datetime | None
    speed_upto: datetime | None
    lag_s: float | None
    notes: list[str]


class WindowName(Answer):
    """A half-open time range and its bucket size."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    bucket: str


class Recommendation(Answer):
    """A recommended product and the evidence for it; the brand's position is null for a fallback."""

    rank: int
    product_id: Id
    brand: str | None
    trend_rank: int
    trend_score: float | None
    total_pct_increase: float | None
    brand_position: int | None
    brand_last_seen_at: datetime | None
    is_fallback: bool
    reason: str


class Recommendations(Freshness):
    """The recommendations for a user; `as_of` is null if they are computed from everything that is known now."""

    user_id: Id
    window: WindowName
    as_of: datetime | None
    recommendations: list[Recommendation]


class Brand(Answer):
    """A recent brand of a user; position 1 is the most recent."""

    position: int
    brand: str
    last_seen_at: datetime


class Brands(Freshness):
    """The recent brands of a user."""

    user_id: Id
    as_of: datetime | None
    brands: list[Brand]


class User(Answer):
    """A user with recent brands."""

    user_id: Id
    brand_count: int
    last_seen_at: datetime


class Users(Freshness):
    """Users, the most recently changed by the speed layer first."""

    users: list[User]


class Trend(Answer):
    """A trending product; `buckets` are its event counts, in the order of `bucket_starts`."""

    rank: int
    product_id: Id
    brand: str | None
    category_code: str | None
    buckets: list[float]
    event_count: float
    user_count: int
    total_pct_increase: float | None
    is_new: bool
    trend_score: float | None
    growth_pct: float | None
    z: float | None
    confidence: Literal["confirmed", "emerging"] | None


class Trends(Freshness):
    """The trends of a window; `shop` are the event counts of the whole shop per bucket."""

    window: WindowName
    rank_by: str
    bucket_starts: list[datetime]
    shop: list[float]
    trends: list[Trend]


class BucketCounts(Answer):
    """The counts of a product in a bucket."""

    view_count: int
    cart_count: int
    remove_count: int
    purchase_count: int
    event_count: int
    user_count: int


class Product(Freshness):
    """A product and its counts per bucket; `shop` are the event counts of the whole shop per bucket."""

    product_id: Id
    brand: str | None
    category_code: str | None
    last_price: float | None
    window: WindowName
    bucket_starts: list[datetime]
    shop: list[int]
    buckets: list[BucketCounts]


class Health(Answer):
    """Whether the server is running, or ready to answer."""

    status: Literal["live", "ready"]


class Topic(Answer):
    """The topic; the number of its messages is null if the broker is not available."""

    name: str
    message_count: int | None
    is_reachable: bool


class BatchLayer(Answer):
    """Messages and lines that the batch layer has received; `upto` is the event time of its newest event."""

    received: int
    stored: int
    rejected: int
    upto: datetime | None
    committed_at: datetime | None


class SpeedLayer(Answer):
    """Messages that the speed layer has received; `behind` is how many are waiting, `lag_s` how long the oldest has.

    `stopped_since` is null unless messages have been waiting for long.
    """

    received: int
    behind: int | None
    lag_s: float | None
    upto: datetime | None
    committed_at: datetime | None
    stopped_since: datetime | None


class Rates(Answer):
    """Messages per second over the last ten seconds; null until they are known."""

    topic: float | None
    batch: float | None
    speed: float | None


class Rejects(Answer):
    """The number of messages and lines that were rejected for a reason."""

    reason: str
    sentence: str
    count: int


class IdentityPart(Answer):
    """A comparison: what was compared, the number of rows, and of those that differ."""

    what: str
    rows: int
    differences: int


class Identity(Answer):
    """The latest result of jobs/identity.py."""

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
