"""What a micro-batch tells of users and of products, combined per Arrow batch in DuckDB before it meets the state."""

from collections.abc import Callable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from lambda_spark import live_events, sightings
from lambda_spark.brands import normalised_brand_sql
from lambda_spark.events import MESSAGE_COLUMNS, Batches, over_message_batches
from lambda_spark.live_events import LIVE_COLUMNS
from lambda_spark.parsing import PARSE_MESSAGES, named_types
from lambda_spark.shards import PACKED, pack_shards


def combine_messages(messages: DataFrame, shards: int, event_types: Sequence[str] = ()) -> DataFrame:
    """Parse Kafka rows, combine what each user browsed, and hand the events through.

    One row per (Arrow batch, shard of users) and one per Arrow batch for its events, columns as brand_state.PACKED.
    """
    return messages.select(*MESSAGE_COLUMNS).mapInArrow(combiner(shards, event_types), PACKED)


def combiner(shards: int, event_types: Sequence[str]) -> Callable[[Batches], Batches]:
    """Return the function over Arrow batches that does it."""
    sql = _events_sql(event_types)

    def combine(batches: Batches) -> Batches:
        for events in over_message_batches(sql, batches):
            yield from pack_shards(sightings.merge(_seen(events)), shards).to_batches()
            if len(events):
                yield live_events.pack(events)

    return combine


def _seen(events: pa.Table) -> pa.Table:
    """Return which brands users were seen with, rows as sightings.SIGHTINGS."""
    # Filtered here, since DuckDB would work out the event and the brand twice for a condition on the brand.
    named = events.filter(pc.is_valid(events["browsed"]))
    columns = ("user_id", "browsed", "event_time", "source_partition", "source_offset")
    return named.select(columns).rename_columns(sightings.SIGHTINGS.names).cast(sightings.SIGHTINGS)


def _events_sql(event_types: Sequence[str]) -> str:
    """SQL of the events of Kafka rows: LIVE_COLUMNS, and `browsed`, the brand that the user was seen with, if any."""
    brand = normalised_brand_sql("brand")
    browsed = f"CASE WHEN event_type IN ({named_types(event_types)}) THEN {brand} END" if event_types else brand
    return f"SELECT {', '.join(LIVE_COLUMNS)}, {browsed} AS browsed FROM ({PARSE_MESSAGES}) WHERE reason IS NULL"
