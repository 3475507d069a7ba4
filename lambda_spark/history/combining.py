"""The keys of the state: users are spread over shards, and what a shard's users were seen with is packed together.

What a micro-batch tells of users and of products, combined per Arrow batch in DuckDB before it meets the state.

Events that the speed layer hands through, as Arrow tables, until the batch view counts them.

They are packed as the sightings of brands are, so that both go through one query, and kept whole: a count of a
micro-batch could not be cut at the offset where the batch view ends (docs/adr/0016-live-activity.md).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark import engine
from lambda_spark.delta.event_log import EventFile, open_files
from lambda_spark.delta.parquet_files import RowBuilder
from lambda_spark.engine import brand_sql, sql_list
from lambda_spark.events.parsing import MESSAGE_COLUMNS, PARSE_MESSAGES, Batches, over_message_batches
from lambda_spark.history import merging
from lambda_spark.schemas import COUNTED_COLUMNS, TOPIC_COLUMNS
from lambda_spark.time_ranges import UTC

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PACKED = "shard int, packed binary"


def pack_shards(rows: pa.Table, shards: int) -> pa.Table:
    """Pack sightings by the shards of their users. One row per shard, columns as PACKED."""
    # A multiplicative hash in plain arithmetic: the shard of a user must be the same with every version of a library.
    shard = np.abs(np.fmod(rows["user_id"].to_numpy(), 2_147_483_647)) * 2_654_435_761 // 65_536 % shards
    # Small numbers are sorted in one pass.
    order = np.argsort(shard.astype(np.min_scalar_type(shards)), kind="stable")
    numbers, starts = np.unique(shard[order], return_index=True)
    ordered = rows.take(pa.array(order)).combine_chunks()
    counts = np.diff(starts, append=len(ordered))
    slices = (ordered.slice(start, count) for start, count in zip(starts, counts, strict=True))
    packed = [merging.pack(each, compressed=True) for each in slices]
    return pa.table({"shard": pa.array(numbers, pa.int32()), "packed": pa.array(packed, pa.binary())})


def combine_messages(messages: "DataFrame", shards: int, event_types: Sequence[str] = ()) -> "DataFrame":
    """Parse Kafka rows, combine what each user browsed, and hand the events through.

    One row per (Arrow batch, shard of users) and one per Arrow batch for its events, columns as brand_state.PACKED.
    """
    return messages.select(*MESSAGE_COLUMNS).mapInArrow(combiner(shards, event_types), PACKED)


def combiner(shards: int, event_types: Sequence[str]) -> Callable[[Batches], Batches]:
    """Return the function over Arrow batches that does it."""
    sql = _events_sql(event_types)

    def combine(batches: Batches) -> Batches:
        for events in over_message_batches(sql, batches):
            yield from pack_shards(merging.merge(_seen(events)), shards).to_batches()
            if len(events):
                yield pack(events)

    return combine


def _seen(events: pa.Table) -> pa.Table:
    """Return which brands users were seen with, rows as sightings.SIGHTINGS."""
    # Filtered here, since DuckDB would work out the event and the brand twice for a condition on the brand.
    named = events.filter(pc.is_valid(events["browsed"]))
    columns = ("user_id", "browsed", "event_time", "source_partition", "source_offset")
    return named.select(columns).rename_columns(merging.SIGHTINGS.names).cast(merging.SIGHTINGS)


def _events_sql(event_types: Sequence[str]) -> str:
    """SQL of the events of Kafka rows: LIVE_COLUMNS, and `browsed`, the brand that the user was seen with, if any."""
    brand = brand_sql("brand")
    browsed = f"CASE WHEN event_type IN ({sql_list(event_types)}) THEN {brand} END" if event_types else brand
    return f"SELECT {', '.join(LIVE_COLUMNS)}, {browsed} AS browsed FROM ({PARSE_MESSAGES}) WHERE reason IS NULL"


LIVE_EVENTS = pa.schema(
    [
        ("event_time", pa.timestamp("us", tz="UTC")),
        ("event_type", pa.string()),
        ("product_id", pa.int64()),
        ("category_code", pa.string()),
        ("brand", pa.string()),
        ("price", pa.float64()),
        ("user_id", pa.int64()),
        ("event_date", pa.date32()),
        ("source_topic", pa.string()),
        ("source_partition", pa.int32()),
        ("source_offset", pa.int64()),
    ]
)

LIVE_COLUMNS = (*COUNTED_COLUMNS, *TOPIC_COLUMNS)
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


def is_live(shard: int) -> bool:
    """Say whether what is packed under the key are events."""
    return shard < 0


def pack(events: pa.Table) -> pa.RecordBatch:
    """Pack events, at least one, of the columns of LIVE_EVENTS: one row as brand_state.PACKED.

    Its key is below 0, so that it is none of a shard of users, and each partition of the topic has another.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, LIVE_EVENTS, options=_COMPRESSED) as stream:
        stream.write(events.select(LIVE_EVENTS.names).cast(LIVE_EVENTS))
    shard = -1 - events["source_partition"][0].as_py()
    columns = {"shard": pa.array([shard], pa.int32()), "packed": pa.array([sink.getvalue().to_pybytes()])}
    return pa.record_batch(columns)


def unpack(packed: Sequence[bytes], covered: Mapping[int, int]) -> pa.Table:
    """Return the events of all that was packed, one after another, without those below an offset of their partition."""
    events = pa.concat_tables([LIVE_EVENTS.empty_table(), *(pa.ipc.open_stream(each).read_all() for each in packed)])
    offset, partition = pc.field("source_offset"), pc.field("source_partition")
    for number, end in covered.items():
        events = events.filter((partition != number) | (offset >= end))
    return events


NO_LISTS = pa.Table.from_batches([merging.brand_lists(merging.SIGHTINGS.empty_table())])
_PACKED_IN_ARROW = pa.schema([("shard", pa.int32()), ("packed", pa.binary())])


def list_maker(limit: int) -> RowBuilder:
    """Return what turns all of a partition's combined_brands into one row per user, schemas.USER_BRANDS."""

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table]]:
        packed = pa.Table.from_batches(batches, _PACKED_IN_ARROW)
        for shard in pc.unique(packed["shard"]):
            of_shard = packed.filter(pc.equal(packed["shard"], shard))["packed"]
            seen = merging.merge(merging.unpack(of_shard.to_pylist()), limit)
            yield (pa.Table.from_batches([merging.brand_lists(seen)]),)

    return make


def brand_condition(event_types: Sequence[str], before: datetime | None) -> str:
    """SQL of the events that tell of a brand."""
    conditions = ["brand IS NOT NULL"]
    conditions += [f"event_type IN ({sql_list(event_types)})"] if event_types else []
    conditions += [f"event_time < TIMESTAMPTZ '{before.astimezone(UTC)}'"] if before else []
    return " AND ".join(conditions)


def combine_events(events: list[EventFile] | pa.Table, condition: str, shards: int) -> pa.Table:
    """Combine what events, of files or in memory, say of each user and brand. One row per shard, columns as PACKED."""
    sql = f"""
        SELECT user_id, brand, epoch_us(max(event_time)) AS seen_at,
            CAST(-1 AS INTEGER) AS "partition", CAST(-1 AS BIGINT) AS "offset"
        FROM events WHERE {condition} GROUP BY user_id, brand
    """
    relation = events if isinstance(events, pa.Table) else open_files(events)
    seen = engine.run_sql(engine.connect().cursor(), sql, events=relation)
    brands = _normalised(seen["brand"].combine_chunks().dictionary_encode())
    seen = seen.set_column(seen.schema.get_field_index("brand"), "brand", brands)
    return pack_shards(seen.filter(pc.is_valid(brands)), shards)


def _normalised(brands: pa.DictionaryArray) -> pa.DictionaryArray:
    """Return the brands that are compared, NULL where there is none; each of the dictionary is worked out once."""
    sql = f"SELECT {brand_sql('name')} AS brand FROM names"
    found = engine.run_sql(engine.connect().cursor(), sql, names=pa.table({"name": brands.dictionary}))["brand"]
    names = found.combine_chunks().dictionary_encode()
    return pa.DictionaryArray.from_arrays(names.indices.take(brands.indices), names.dictionary)
