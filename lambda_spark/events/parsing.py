"""The one rule that decides what an event is, for both layers, written over Arrow batches in DuckDB's SQL.

A batch goes through two steps: *decode* turns a raw value into nine texts (or says why it cannot), *judge* turns nine
texts into a typed event (or says why they aren't one). Messages and file lines differ in the first step only.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark import engine
from lambda_spark.engine import freeze_gc
from lambda_spark.events.event_files import FileRange
from lambda_spark.events.file_lines import read_lines
from lambda_spark.schemas import EVENT_COLUMNS, PARSED, Reason

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


# An event is a few hundred characters; a value beyond this is a mistake or an attack.
MAX_VALUE_LENGTH = 65_536
SOURCE_COLUMNS = ("source_topic", "source_partition", "source_offset", "source_file", "source_line")
_IDS = ("product_id", "user_id", "category_id")
_TEXTS = ("category_code", "brand", "user_session")

# Years that Python and pandas can count with: one event of the year 9999 would end every job that adds a day to it.
_INSTANT = r"(19|20|21)\d\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?"
_UTC = r"( ?UTC|Z|[+-]00:?00)?"
_OFFSET = r"[+-]([01]\d|2[0-3]):?[0-5]\d"
_INTEGER = r"[+-]?\d+"
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_WORD = r"[a-z][a-z0-9_]{0,31}"

# Words too, but never an event type: as text they are the same as JSON's own.
_BOOLEANS = "'true', 'false'"

# The nine texts of a message, as a struct: json_transform reads the object once for all of them.
_FIELDS = "{" + ", ".join(f'"{name}": "VARCHAR"' for name in EVENT_COLUMNS) + "}"


def _sources(source: dict[str, str]) -> str:
    types = dict(zip(SOURCE_COLUMNS, ("VARCHAR", "INTEGER", "BIGINT", "VARCHAR", "BIGINT"), strict=True))
    return ", ".join(f"CAST({source.get(name, 'NULL')} AS {types[name]}) AS {name}" for name in SOURCE_COLUMNS)


# Relation in: messages (value text, is_utf8, topic, partition, offset).
DECODE_MESSAGES = f"""
    SELECT value, {_sources({"source_topic": "topic", "source_partition": '"partition"', "source_offset": '"offset"'})},
        CASE
            WHEN value IS NULL THEN '{Reason.EMPTY_MESSAGE.value}'
            WHEN NOT is_utf8 THEN '{Reason.NOT_UTF8.value}'
            WHEN strlen(value) > {MAX_VALUE_LENGTH} THEN '{Reason.TOO_LONG.value}'
            WHEN NOT (ltrim(value, ' \t\r\n')[1] = '{{' AND json_valid(value)) THEN '{Reason.NOT_A_JSON_OBJECT.value}'
        END AS undecodable,
        CASE WHEN undecodable IS NULL THEN json_transform(value, '{_FIELDS}') END AS f,
        {", ".join(f"struct_extract(f, '{name}') AS {name}" for name in EVENT_COLUMNS)},
        CASE WHEN {" OR ".join(f"starts_with({name}, '{{') OR starts_with({name}, '[')" for name in _TEXTS)}
            THEN list_has_any(json_type(value, {list(_TEXTS)}), ['OBJECT', 'ARRAY'])
            ELSE false
        END AS is_nested
    FROM messages
"""

# Relation in: lines (value text, has_nine_fields, the nine texts, source_file, source_line).
DECODE_LINES = f"""
    SELECT value, {_sources({"source_file": "source_file", "source_line": "source_line"})},
        CASE
            WHEN strlen(value) > {MAX_VALUE_LENGTH} THEN '{Reason.TOO_LONG.value}'
            WHEN NOT has_nine_fields THEN '{Reason.NOT_NINE_FIELDS.value}'
        END AS undecodable,
        {", ".join(EVENT_COLUMNS)}, false AS is_nested
    FROM lines
"""


def _typed(name: str, pattern: str, kind: str) -> str:
    """SQL of the text as `kind`, if it matches the pattern. Only a text that needs it is trimmed, which is slow."""
    text = f"{name}_text"
    return f"""CASE
                WHEN regexp_full_match({text}, '{pattern}') THEN TRY_CAST({text} AS {kind})
                WHEN regexp_full_match(trim({text}), '{pattern}') THEN TRY_CAST(trim({text}) AS {kind})
            END"""


def _id(name: str) -> str:
    """SQL of an id. A number that is written just as the text needs no look at the pattern, which costs more."""
    number = f"TRY_CAST({name}_text AS BIGINT)"
    return f"""CASE WHEN CAST({number} AS VARCHAR) = {name}_text THEN {number}
            ELSE {_typed(name, _INTEGER, "BIGINT")} END"""


def _is_empty(name: str) -> str:
    return f"coalesce(trim({name}_text), '') = ''"


def _required(name: str, malformed: Reason) -> str:
    return f"WHEN {name} IS NULL THEN CASE WHEN {_is_empty(name)} THEN '{name}_missing' ELSE '{malformed.value}' END"


def _id_malformed(name: str) -> str:
    text = f"trim({name}_text)"
    return f"""
            WHEN {name} IS NULL AND NOT {_is_empty(name)} THEN CASE
                WHEN regexp_full_match({text}, '{_NUMBER}') AND NOT regexp_full_match({text}, '{_INTEGER}')
                THEN '{name}_damaged_by_float' ELSE '{name}_malformed' END"""


def judge(decoded: str) -> str:
    """Return the SQL that types the nine texts of the relation `decoded`; columns as in schemas.PARSED."""
    return f"""
    WITH decoded AS ({decoded}),
    texts AS (
        SELECT value, undecodable, is_nested, {", ".join(SOURCE_COLUMNS)},
            {", ".join(f"{name} AS {name}_text" for name in ("event_time", "event_type", "price", *_IDS))},
            {", ".join(f"nullif({name}, '') AS {name}" for name in _TEXTS)}
        FROM decoded),
    typed AS (
        SELECT *,
            coalesce({_typed("event_time", _INSTANT + _UTC, "TIMESTAMP")},
                CAST({_typed("event_time", _INSTANT + _OFFSET, "TIMESTAMPTZ")} AS TIMESTAMP)) AS event_time,
            {_typed("event_type", _WORD, "VARCHAR")} AS event_type,
            {_typed("price", _NUMBER, "DOUBLE")} AS price,
            {", ".join(f"{_id(name)} AS {name}" for name in _IDS)}
        FROM texts),
    judged AS (
        SELECT *, CASE
            WHEN undecodable IS NOT NULL THEN undecodable
            {_required("event_time", Reason.EVENT_TIME_MALFORMED)}
            {_required("event_type", Reason.EVENT_TYPE_MALFORMED)}
            WHEN event_type IN ({_BOOLEANS}) THEN '{Reason.EVENT_TYPE_MALFORMED.value}'
            WHEN product_id IS NULL AND {_is_empty("product_id")} THEN '{Reason.PRODUCT_ID_MISSING.value}'
            WHEN user_id IS NULL AND {_is_empty("user_id")} THEN '{Reason.USER_ID_MISSING.value}'
            {"".join(_id_malformed(name) for name in _IDS)}
            WHEN price < 0 OR isinf(price) OR price IS NULL AND NOT {_is_empty("price")}
            THEN '{Reason.PRICE_MALFORMED.value}'
            WHEN is_nested THEN '{Reason.TEXT_MALFORMED.value}'
        END AS reason FROM typed)
    SELECT {", ".join(EVENT_COLUMNS)}, CAST(event_time AS DATE) AS event_date, {", ".join(SOURCE_COLUMNS)},
        CASE WHEN reason IS NOT NULL THEN value END AS value, reason
    FROM judged
    """


PARSE_MESSAGES = judge(DECODE_MESSAGES)
PARSE_LINES = judge(DECODE_LINES)


def message_table(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """Turn Kafka rows (value binary, topic, partition, offset) into the relation that DECODE_MESSAGES reads."""
    table = pa.Table.from_batches(batches)
    values = table["value"].combine_chunks()
    try:
        texts, is_utf8 = values.cast(pa.string()), pa.repeat(True, len(table))
    except pa.ArrowInvalid:
        texts, is_utf8 = _lenient_texts(values)
    return pa.table(
        {"value": texts, "is_utf8": is_utf8, **{name: table[name] for name in ("topic", "partition", "offset")}}
    )


def _lenient_texts(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    raw = values.to_pylist()
    texts = [None if value is None else value.decode("utf-8", "backslashreplace") for value in raw]
    is_utf8 = [text is None or text.encode() == value for text, value in zip(texts, raw, strict=True)]
    return pa.array(texts, pa.string()), pa.array(is_utf8)


Batches = Iterator[pa.RecordBatch]

# What the rule takes of the Kafka source's columns.
MESSAGE_COLUMNS = ("value", "topic", "partition", "offset")


def parse_messages(messages: "DataFrame") -> "DataFrame":
    """Parse Kafka rows (value, topic, partition, offset). One row per message, schemas.PARSED."""

    def parse(batches: Batches) -> Batches:
        for parsed in over_message_batches(PARSE_MESSAGES, batches):
            yield from parsed.to_batches()

    return messages.select(*MESSAGE_COLUMNS).mapInArrow(parse, PARSED)


def parse_range(part: FileRange) -> Iterator[pa.Table]:
    """Parse a range of an event file. Rows as in schemas.PARSED; raises EventFileError."""
    connection = engine.connect()
    for lines in read_lines(part):
        yield engine.run_sql(connection, PARSE_LINES, lines=lines)


def divide_messages(batches: Batches, rejected_upto: Mapping[int, int]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Parse Kafka rows, and divide them as `divide` does; rejects below an offset of their partition are left out."""
    is_new = pc.scalar(True)
    for number, end in rejected_upto.items():
        is_new &= (pc.field("source_partition") != number) | (pc.field("source_offset") >= end)
    for rejected, events in map(divide, over_message_batches(PARSE_MESSAGES, batches)):
        yield rejected.filter(is_new), events


def range_divider(ranges: Sequence[FileRange]) -> Callable[[Batches], Iterator[tuple[pa.Table, pa.Table]]]:
    """Return the function that parses the ranges named by rows of numbers (id), and divides them as `divide`."""

    def divide_ranges(batches: Batches) -> Iterator[tuple[pa.Table, pa.Table]]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                yield from map(divide, parse_range(ranges[number]))

    return divide_ranges


def divide(parsed: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Divide parsed rows into rejects, schemas.REJECTED_EVENTS, and events, schemas.EVENTS."""
    is_event = pc.is_null(parsed["reason"])
    rejected = parsed.filter(pc.invert(is_event)).select(["value", "reason", *SOURCE_COLUMNS])
    rejected_at = pa.repeat(pa.scalar(datetime.now(timezone.utc), pa.timestamp("us", tz="UTC")), len(rejected))
    return rejected.append_column("rejected_at", rejected_at), parsed.filter(is_event).drop_columns(["value", "reason"])


def over_message_batches(sql: str, batches: Batches) -> Iterator[pa.Table]:
    """Run `sql` over each batch of Kafka rows, as the relation `messages`."""
    connection = engine.connect()
    freeze_gc()
    for batch in batches:
        yield engine.run_sql(connection, sql, messages=message_table([batch]))
