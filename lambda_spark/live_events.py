"""Events that the speed layer hands through, as Arrow tables, until the batch view counts them.

They are packed as the sightings of brands are, so that both go through one query, and kept whole: a count of a
micro-batch could not be cut at the offset where the batch view ends (docs/adr/0016-live-activity.md).
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark.schemas import COUNTED_COLUMNS, TOPIC_COLUMNS

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
