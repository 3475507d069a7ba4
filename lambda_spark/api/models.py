"""What the API answers, for its OpenAPI description; tests hold the answers against it.

What /v1/status answers, for its OpenAPI description.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Id = Annotated[str, Field(pattern=r"^-?[0-9]{1,19}$", examples=["512006836"])]


class Answer(BaseModel):
    """An answer, or a part of one: no other fields than these."""

    model_config = ConfigDict(extra="forbid")


class Reach(Answer):
    """How far an answer reaches: the newest event of the batch layer, and of either, by their own time.

    `lag_s` is for how long the oldest message that the speed layer has not taken in has been waiting, in seconds; null
    where the broker cannot be asked.
    """

    batch_upto: datetime | None
    speed_upto: datetime | None
    lag_s: float | None
    notes: list[str]


class WindowName(Answer):
    """A half-open range, and the size of its buckets."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    bucket: str


class Recommendation(Answer):
    """A product, and the evidence for it; the brand's position is null for a fallback."""

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


class Recommendations(Reach):
    """What is recommended to a user; `as_of` is null where it is answered from all that is known."""

    user_id: Id
    window: WindowName
    as_of: datetime | None
    recommendations: list[Recommendation]


class Brand(Answer):
    """A brand that a user was seen with; position 1 is the most recent."""

    position: int
    brand: str
    last_seen_at: datetime


class Brands(Reach):
    """The recent brands of a user."""

    user_id: Id
    as_of: datetime | None
    brands: list[Brand]


class User(Answer):
    """A user to pick."""

    user_id: Id
    brand_count: int
    last_seen_at: datetime


class Users(Reach):
    """Users, those first whom the speed layer has told of last."""

    users: list[User]


class Trend(Answer):
    """A product that trends; `buckets` are its events, in the order of `bucket_starts`."""

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


class Trends(Reach):
    """The trends of a window; `shop` are the events of the whole shop per bucket."""

    window: WindowName
    rank_by: str
    bucket_starts: list[datetime]
    shop: list[float]
    trends: list[Trend]


class BucketCounts(Answer):
    """What happened to a product in a bucket."""

    view_count: int
    cart_count: int
    remove_count: int
    purchase_count: int
    event_count: int
    user_count: int


class Product(Reach):
    """A product and its buckets."""

    product_id: Id
    brand: str | None
    category_code: str | None
    last_price: float | None
    window: WindowName
    bucket_starts: list[datetime]
    shop: list[int]
    buckets: list[BucketCounts]


class Health(Answer):
    """That the server lives, or can answer."""

    status: Literal["live", "ready"]


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
