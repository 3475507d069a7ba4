"""The contracts: columns of event files, messages and tables as Spark DDL, the reject reasons, and the data root."""

from enum import Enum
from typing import Any, TypeAlias
from urllib.parse import urlsplit

# The nine columns of the REES46 event files, in their order; also the keys of a message in the topic.
EVENT_COLUMNS = (
    "event_time",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "brand",
    "price",
    "user_id",
    "user_session",
)

_EVENT = """
    event_time timestamp, event_type string, product_id bigint, category_id bigint, category_code string,
    brand string, price double, user_id bigint, user_session string, event_date date
"""

# The source of a row: topic, partition and offset, or file and line; the other two are NULL.
_SOURCE = """
    source_topic string, source_partition int, source_offset bigint, source_file string, source_line bigint
"""

_BRANDS = "user_id bigint, brands array<struct<brand: string, last_seen_at: timestamp>>"

# One row per message or file line: an event, or, if `reason` isn't NULL, a raw value that is rejected.
PARSED = f"{_EVENT}, {_SOURCE}, value string, reason string"

# One row per event received. `event_date` is the day of `event_time` in UTC.
EVENTS = f"{_EVENT}, {_SOURCE}"

# One row per message or file line that isn't an event. `reason` is a Reason.
REJECTED_EVENTS = f"value string, reason string, {_SOURCE}, rejected_at timestamp"

# One row per row of rejected_events whose message was sent to the topic again.
REPLAYED_REJECTS = "source_topic string, source_partition int, source_offset bigint, replayed_at timestamp"

# The event types with a count each, and its column.
COUNT_COLUMNS = {
    "view": "view_count",
    "cart": "cart_count",
    "remove_from_cart": "remove_count",
    "purchase": "purchase_count",
}

# The name of all other types in the weights.
OTHER = "other"

_ACTIVITY = """
    product_id bigint, brand string, category_code string,
    view_count bigint, cart_count bigint, remove_count bigint, purchase_count bigint, event_count bigint,
    user_count bigint, last_price double
"""

# One row per (event_date, product_id). Counts are events, `user_count` distinct users of that day.
PRODUCT_ACTIVITY = f"event_date date, {_ACTIVITY}"

# One row per (bucket_at, product_id), for buckets of any size.
BUCKET_ACTIVITY = f"bucket_at timestamp, {_ACTIVITY}"

# The partition column of `trends` and `recommendations`, which parquet_files.with_window adds when rows are written.
WINDOW = "window string"

# One row per (window_from, window_to, bucket, product_id). Counts and the increase are of events, weighted by type;
# score, growth, z and confidence of distinct users or of events, depending on trends.count_by.
TRENDS = """
    window_from timestamp, window_to timestamp, bucket string, rank int, product_id bigint, brand string,
    category_code string, buckets array<struct<bucket_at: timestamp, event_count: double>>, event_count double,
    user_count bigint, total_pct_increase double, is_new boolean, trend_score double, growth_pct double, z double,
    confidence string
"""

# One row per user_id; `brands` newest first.
USER_BRANDS = _BRANDS

# One row per (batch_id, user_id): the user's list after the micro-batch, and the next offset of each partition.
RECENT_BRANDS = f"{_BRANDS}, batch_id bigint, source_topic string, source_offsets map<int, bigint>"

# One row per (window_from, window_to, user_id, rank).
RECOMMENDATIONS = """
    window_from timestamp, window_to timestamp, user_id bigint, rank int, product_id bigint, brand string,
    trend_rank int, trend_score double, total_pct_increase double, brand_position int, brand_last_seen_at timestamp,
    is_fallback boolean
"""

RECOMMENDATION_COLUMNS = tuple(column.split()[0] for column in RECOMMENDATIONS.split(","))

# The next offset of each partition of a topic.
Offsets = dict[int, int]

# A row of a table, whose columns are attributes.
Row: TypeAlias = Any


class Reason(str, Enum):
    """A reason for rejecting. The value is what `rejected_events.reason` holds."""

    EMPTY_MESSAGE = "empty_message"
    NOT_UTF8 = "not_utf8"
    TOO_LONG = "too_long"
    NOT_A_JSON_OBJECT = "not_a_json_object"
    NOT_NINE_FIELDS = "not_nine_fields"
    EVENT_TIME_MISSING = "event_time_missing"
    EVENT_TIME_MALFORMED = "event_time_malformed"
    EVENT_TYPE_MISSING = "event_type_missing"
    EVENT_TYPE_MALFORMED = "event_type_malformed"
    PRODUCT_ID_MISSING = "product_id_missing"
    PRODUCT_ID_MALFORMED = "product_id_malformed"
    PRODUCT_ID_DAMAGED = "product_id_damaged_by_float"
    USER_ID_MISSING = "user_id_missing"
    USER_ID_MALFORMED = "user_id_malformed"
    USER_ID_DAMAGED = "user_id_damaged_by_float"
    CATEGORY_ID_MALFORMED = "category_id_malformed"
    CATEGORY_ID_DAMAGED = "category_id_damaged_by_float"
    PRICE_MALFORMED = "price_malformed"
    TEXT_MALFORMED = "text_malformed"


_NO_INTEGER = "is no 64-bit integer."


_DAMAGED = "was written as a decimal number, as spreadsheets and floats do; its last digits are lost."


SENTENCES = {
    Reason.EMPTY_MESSAGE: "The message has no value.",
    Reason.NOT_UTF8: "The value is not UTF-8 text.",
    Reason.TOO_LONG: "The value is longer than an event can be.",
    Reason.NOT_A_JSON_OBJECT: "The message is not a JSON object.",
    Reason.NOT_NINE_FIELDS: "The line has not nine fields.",
    Reason.EVENT_TIME_MISSING: "event_time is empty.",
    Reason.EVENT_TIME_MALFORMED: "event_time is no instant such as 2019-10-01 00:00:00 UTC.",
    Reason.EVENT_TYPE_MISSING: "event_type is empty.",
    Reason.EVENT_TYPE_MALFORMED: "event_type is no short lower-case word.",
    Reason.PRODUCT_ID_MISSING: "product_id is empty.",
    Reason.PRODUCT_ID_MALFORMED: f"product_id {_NO_INTEGER}",
    Reason.PRODUCT_ID_DAMAGED: f"product_id {_DAMAGED}",
    Reason.USER_ID_MISSING: "user_id is empty.",
    Reason.USER_ID_MALFORMED: f"user_id {_NO_INTEGER}",
    Reason.USER_ID_DAMAGED: f"user_id {_DAMAGED}",
    Reason.CATEGORY_ID_MALFORMED: f"category_id {_NO_INTEGER}",
    Reason.CATEGORY_ID_DAMAGED: f"category_id {_DAMAGED}",
    Reason.PRICE_MALFORMED: "price is no number, or below 0.",
    Reason.TEXT_MALFORMED: "A text column holds a nested JSON value.",
}


def is_local(root: str) -> bool:
    """Return True if the root is a folder of this machine."""
    return "://" not in root


def checked_uri(uri: str) -> str:
    """Return the URI of a data root without a slash at its end.

    Raises ValueError if it could lead elsewhere, or holds a key, which would then be written into tables and logs.
    """
    address = urlsplit(uri)
    if "@" in address.netloc:
        raise ValueError("a URI is written into logs: leave the keys out, they belong into the environment")
    if not address.netloc and address.scheme != "file":
        raise ValueError("name the bucket, as in s3a://BUCKET/FOLDER")
    if not uri.isprintable() or set("?#%\\ ") & set(uri) or {".", ".."} & set(address.path.split("/")):
        raise ValueError("write it without . and .. between slashes, and without blanks and any of ? # % \\")
    return uri.rstrip("/")
