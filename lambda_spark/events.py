"""From raw messages and files to events: the Spark side of the rule in lambda_spark.parsing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame

from lambda_spark import parsing
from lambda_spark.file_lines import read_lines
from lambda_spark.file_ranges import FileRange
from lambda_spark.schemas import PARSED
from lambda_spark.workers import settle

Batches = Iterator[pa.RecordBatch]

# What the rule takes of the Kafka source's columns.
MESSAGE_COLUMNS = ("value", "topic", "partition", "offset")


def parse_messages(messages: DataFrame) -> DataFrame:
    """Parse Kafka rows (value, topic, partition, offset). One row per message, schemas.PARSED."""

    def parse(batches: Batches) -> Batches:
        for parsed in over_message_batches(parsing.PARSE_MESSAGES, batches):
            yield from parsed.to_batches()

    return messages.select(*MESSAGE_COLUMNS).mapInArrow(parse, PARSED)


def parse_range(part: FileRange) -> Iterator[pa.Table]:
    """Parse a range of an event file. Rows as in schemas.PARSED; raises EventFileError."""
    connection = parsing.connect()
    for lines in read_lines(part):
        yield parsing.run(connection, parsing.PARSE_LINES, lines=lines)


def divide_messages(batches: Batches, rejected_upto: Mapping[int, int]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Parse Kafka rows, and divide them as `divide` does; rejects below an offset of their partition are left out."""
    is_new = pc.scalar(True)
    for number, end in rejected_upto.items():
        is_new &= (pc.field("source_partition") != number) | (pc.field("source_offset") >= end)
    for rejected, events in map(divide, over_message_batches(parsing.PARSE_MESSAGES, batches)):
        yield rejected.filter(is_new), events


def range_divider(ranges: Sequence[FileRange]) -> Callable[[Batches], Iterator[tuple[pa.Table, pa.Table]]]:
    """Return the function that parses the ranges named by rows of numbers (id), and divides them as `divide`."""

    def divide_ranges(batches: Batches) -> Iterator[tuple[pa.Table, pa.Table]]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                yield from map(divide, parse_range(ranges[number]))

    return divide_ranges


def divide(parsed: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Divide what was parsed into what is no event, schemas.REJECTED_EVENTS, and events, schemas.EVENTS."""
    is_event = pc.is_null(parsed["reason"])
    rejected = parsed.filter(pc.invert(is_event)).select(["value", "reason", *parsing.SOURCE_COLUMNS])
    rejected_at = pa.repeat(pa.scalar(datetime.now(timezone.utc), pa.timestamp("us", tz="UTC")), len(rejected))
    return rejected.append_column("rejected_at", rejected_at), parsed.filter(is_event).drop_columns(["value", "reason"])


def over_message_batches(sql: str, batches: Batches) -> Iterator[pa.Table]:
    """Run `sql` over each batch of Kafka rows, as the relation `messages`."""
    connection = parsing.connect()
    settle()
    for batch in batches:
        yield parsing.run(connection, sql, messages=parsing.message_table([batch]))
