"""What a micro-batch adds to the realtime views: the events it took in, and the lists of the users it touched."""

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark import live_events, sightings
from lambda_spark.parquet_files import MakeRows


def view_maker(batch_id: int, topic: str, reached: Mapping[int, int], covered: Mapping[int, int]) -> MakeRows:
    """Return what turns packed rows, brand_state.PACKED, into those of tables.REALTIME_VIEWS.

    `reached` is the next offset of each partition after the micro-batch; events below the offsets `covered` are counted
    in the batch view already.
    """
    number = pa.scalar(batch_id, pa.int64())
    told = {
        "batch_id": number,
        "source_topic": pa.scalar(topic),
        "source_offsets": pa.scalar(list(reached.items()), pa.map_(pa.int32(), pa.int64())),
    }

    def make(batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table, pa.Table]]:
        for batch in batches:
            is_event = pc.less(batch["shard"], 0)
            events = live_events.unpack(batch["packed"].filter(is_event).to_pylist(), covered)
            seen = sightings.unpack(batch["packed"].filter(pc.invert(is_event)).to_pylist())
            yield (
                _with_constants(events, {"batch_id": number}),
                _with_constants(pa.Table.from_batches([sightings.brand_lists(seen)]), told),
            )

    return make


def _with_constants(rows: pa.Table, constants: dict[str, pa.Scalar]) -> pa.Table:
    for name, value in constants.items():
        # Of maps Arrow cannot repeat one no times.
        column = pa.repeat(value, len(rows)) if len(rows) else pa.array([], value.type)
        rows = rows.append_column(name, column)
    return rows
