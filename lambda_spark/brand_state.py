"""A user's recent brands as the speed layer keeps them: combined per Arrow batch, merged into the state of a shard.

A call into the state costs far more than the merge itself, so the state has one key per shard of users, not per user
(docs/adr/0002-state-design.md). Its value is *packed*: a line per user, `user_id TAB {"brand": last_seen_micros}`,
newest brand first. What the combiner sends and what the processor returns are packed the same way.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, Row
from pyspark.sql.streaming.stateful_processor import StatefulProcessor, StatefulProcessorHandle

from lambda_spark.brands import normalised_brand_sql
from lambda_spark.events import Batches, over_message_batches
from lambda_spark.parsing import PARSE_MESSAGES
from lambda_spark.schemas import USER_BRANDS

PACKED = "shard int, packed string"

Brands = Mapping[str, int]

_BRAND_LIST = pa.list_(pa.struct([("brand", pa.string()), ("last_seen_at", pa.timestamp("us", tz="UTC"))]))


def merge_brands(one: Brands, other: Brands) -> dict[str, int]:
    """Return, per brand of either, the newer last_seen_at (microseconds since 1970)."""
    return {brand: max(one.get(brand, seen), other.get(brand, seen)) for brand, seen in {**one, **other}.items()}


def most_recent(brands: Brands, limit: int) -> dict[str, int]:
    """Return the `limit` most recent brands, newest first, ties by brand."""
    return dict(sorted(brands.items(), key=lambda item: (-item[1], item[0]))[:limit])


def pack(users: Mapping[str, str]) -> str:
    """Pack the lists of users (user_id -> JSON object of brands) into one text."""
    return "\n".join(f"{user_id}\t{brands}" for user_id, brands in users.items())


def unpack(packed: str) -> dict[str, str]:
    """Return user_id -> JSON object of brands. The lists stay text: only those of touched users are decoded."""
    return dict(line.split("\t", 1) for line in packed.split("\n")) if packed else {}


class RecentBrands(StatefulProcessor):
    """Merges what users browsed into the state of their shard; returns one packed row of the users it touched."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def init(self, handle: StatefulProcessorHandle) -> None:
        """Open the state: one packed text per shard."""
        self._users = handle.getValueState("users", "packed string")

    def handleInputRows(self, key: Any, rows: Iterator[Any], timerValues: Any) -> Iterator[Row]:  # noqa: N802, N803
        """Merge the packed rows of one shard into its state."""
        stored = self._users.get()
        users = unpack(stored[0]) if stored else {}
        touched: dict[str, dict[str, int]] = {}
        for row in rows:
            for user_id, brands in unpack(row.packed).items():
                known = touched[user_id] if user_id in touched else json.loads(users.get(user_id, "{}"))
                touched[user_id] = merge_brands(known, json.loads(brands))
        changed = {user_id: _to_json(most_recent(brands, self._limit)) for user_id, brands in touched.items()}
        self._users.update((pack({**users, **changed}),))
        yield Row(shard=key[0], packed=pack(changed))


def combine_messages(messages: DataFrame, shards: int, event_types: Sequence[str] = ()) -> DataFrame:
    """Parse Kafka rows and combine what each user browsed. One row per (Arrow batch, shard), columns as PACKED."""
    combined = over_message_batches(_combine_sql(shards, event_types))
    return messages.select("value", "topic", "partition", "offset").mapInArrow(combined, PACKED)


def update_brand_state(combined: DataFrame, limit: int) -> DataFrame:
    """Merge combined messages into the state. One row per (micro-batch, user_id) touched, schemas.USER_BRANDS."""
    touched = combined.groupBy("shard").transformWithState(
        statefulProcessor=RecentBrands(limit), outputStructType=PACKED, outputMode="update", timeMode="none"
    )
    return touched.mapInArrow(_unpack_batches, USER_BRANDS)


def _to_json(brands: Brands) -> str:
    return json.dumps(brands, ensure_ascii=False, separators=(",", ":"))


def _combine_sql(shards: int, event_types: Sequence[str]) -> str:
    names = ", ".join("'{}'".format(name.replace("'", "''")) for name in event_types)
    # A multiplicative hash in plain arithmetic: the shard of a user must be the same with every version of DuckDB.
    shard = f"(abs(user_id % 2147483647) * 2654435761) // 65536 % {shards}"
    return f"""
    WITH parsed AS ({PARSE_MESSAGES}),
    browsed AS (
        SELECT user_id, {normalised_brand_sql("brand")} AS brand, epoch_us(event_time) AS seen_at
        FROM parsed WHERE reason IS NULL {f"AND event_type IN ({names})" if names else ""}),
    latest AS (
        SELECT user_id, brand, max(seen_at) AS seen_at FROM browsed WHERE brand IS NOT NULL GROUP BY user_id, brand),
    users AS (SELECT user_id, to_json(map(list(brand), list(seen_at))) AS brands FROM latest GROUP BY user_id)
    SELECT CAST({shard} AS INTEGER) AS shard, string_agg(user_id || chr(9) || brands, chr(10)) AS packed
    FROM users GROUP BY shard
    """


def _unpack_batches(batches: Batches) -> Batches:
    for batch in batches:
        users = [
            (int(user_id), json.loads(brands))
            for packed in batch["packed"].to_pylist()
            for user_id, brands in unpack(packed).items()
        ]
        lists = [[{"brand": brand, "last_seen_at": seen} for brand, seen in brands.items()] for _, brands in users]
        user_ids = pa.array([user_id for user_id, _ in users], pa.int64())
        yield pa.RecordBatch.from_arrays([user_ids, pa.array(lists, _BRAND_LIST)], ["user_id", "brands"])
