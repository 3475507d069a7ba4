"""From raw messages and files to events: the Spark side of the rule in lambda_spark.parsing."""

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lambda_spark import parsing
from lambda_spark.files import Record, read_records
from lambda_spark.schemas import EVENT_COLUMNS, PARSED

_LINES_PER_BATCH = 50_000

Batches = Iterator[pa.RecordBatch]


def parse_messages(messages: DataFrame) -> DataFrame:
    """Parse Kafka rows (value, topic, partition, offset). One row per message, schemas.PARSED."""
    return messages.select("value", "topic", "partition", "offset").mapInArrow(_parse_message_batches, PARSED)


def parse_file(spark: SparkSession, path: Path) -> DataFrame:
    """Parse an event file. One row per data line, schemas.PARSED; raises EventFileError inside the task."""
    return spark.createDataFrame([(str(path),)], "path string").mapInArrow(_parse_file_batches, PARSED)


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


def _parse_file_batches(batches: Batches) -> Batches:
    connection = parsing.connect()
    for batch in batches:
        for path in map(Path, batch["path"].to_pylist()):
            records = read_records(path)
            while chunk := list(islice(records, _LINES_PER_BATCH)):
                yield from parsing.run(connection, parsing.PARSE_LINES, lines=_line_table(path, chunk)).to_batches()


def _line_table(path: Path, records: list[Record]) -> pa.Table:
    """Turn records into the relation that parsing.DECODE_LINES reads."""
    nothing = (None,) * len(EVENT_COLUMNS)
    texts = zip(*(record.fields or nothing for record in records), strict=True)
    columns = {name: pa.array(column, pa.string()) for name, column in zip(EVENT_COLUMNS, texts, strict=True)}
    return pa.table(
        {
            "value": pa.array([record.raw for record in records], pa.string()),
            "is_utf8": pa.repeat(True, len(records)),
            "has_nine_fields": pa.array([record.fields is not None for record in records]),
            "source_file": pa.repeat(path.name, len(records)),
            "source_line": pa.array([record.line for record in records], pa.int64()),
            **columns,
        }
    )
