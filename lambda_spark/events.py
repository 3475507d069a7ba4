"""From raw messages and files to events: the Spark side of the rule in lambda_spark.parsing."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import parsing
from lambda_spark.file_lines import read_lines
from lambda_spark.file_ranges import FileRange, plan_ranges
from lambda_spark.schemas import PARSED

Batches = Iterator[pa.RecordBatch]


def parse_messages(messages: DataFrame) -> DataFrame:
    """Parse Kafka rows (value, topic, partition, offset). One row per message, schemas.PARSED."""
    return messages.select("value", "topic", "partition", "offset").mapInArrow(_parse_message_batches, PARSED)


def parse_file(spark: SparkSession, path: Path) -> DataFrame:
    """Parse an event file, a task per range. One row per record, schemas.PARSED; raises EventFileError."""
    ranges = plan_ranges(path)

    def parse(batches: Batches) -> Batches:
        for batch in batches:
            for number in batch["id"].to_pylist():
                yield from parse_range(ranges[number])

    return spark.range(0, len(ranges), numPartitions=len(ranges)).mapInArrow(parse, PARSED)


def parse_range(part: FileRange) -> Batches:
    """Parse a range of an event file, without Spark. Rows as in schemas.PARSED; raises EventFileError."""
    connection = parsing.connect()
    for lines in read_lines(part):
        yield from parsing.run(connection, parsing.PARSE_LINES, lines=lines).to_batches()


def filter_events(parsed: DataFrame) -> DataFrame:
    """Keep what is an event, schemas.EVENTS."""
    return parsed.where(F.col("reason").isNull()).drop("value", "reason")


def filter_rejected(parsed: DataFrame) -> DataFrame:
    """Keep what is no event, stamped with the time of rejection, schemas.REJECTED_EVENTS."""
    rejected = parsed.where(F.col("reason").isNotNull())
    return rejected.select("value", "reason", *parsing.SOURCE_COLUMNS, F.current_timestamp().alias("rejected_at"))


def over_message_batches(
    sql: str, finish: Callable[[pa.Table], pa.Table] | None = None
) -> Callable[[Batches], Batches]:
    """Return a mapInArrow function that runs `sql` over each batch of Kafka rows, then `finish` over its answer."""

    def run(batches: Batches) -> Batches:
        connection = parsing.connect()
        for batch in batches:
            answer = parsing.run(connection, sql, messages=parsing.message_table([batch]))
            yield from (finish(answer) if finish else answer).to_batches()

    return run


_parse_message_batches = over_message_batches(parsing.PARSE_MESSAGES)
