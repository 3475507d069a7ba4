"""The contracts: the columns of an event file, of a message, and of every table, as Spark DDL, and the data root."""

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

# One row per message or file line that isn't an event. `reason` is a lambda_spark.events.parsing.Reason.
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

# The columns of an event that counts are computed from.
COUNTED_COLUMNS = ("event_time", "event_type", "product_id", "category_code", "brand", "price", "user_id", "event_date")

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
