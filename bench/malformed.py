"""Messages that aren't events, each with the reason for which both layers reject it."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, cycle, islice
from pathlib import Path
from random import Random

from lambda_spark.kafka.client import ensure_topic, open_producer
from lambda_spark.schemas import Reason
from lambda_spark.settings import KafkaSettings

# A value, and the reason for which it is rejected.
Malformed = tuple[bytes | None, Reason]

_LARGE = 2_000_000
_POOL = 10_000
_NO_ID = (True, {"id": 1}, [1], "abc", "1 2", "0x1f", "1" * 30, str(2**63), 2**63, -(10**25), 10**400)
# reason -> a column and its values that are rejected for it
WRONG: dict[Reason, tuple[str, tuple[object, ...]]] = {
    Reason.USER_ID_MALFORMED: ("user_id", _NO_ID),
    Reason.PRODUCT_ID_MALFORMED: ("product_id", _NO_ID),
    Reason.CATEGORY_ID_MALFORMED: ("category_id", _NO_ID),
    Reason.USER_ID_DAMAGED: ("user_id", (1.5, 1e30, "2.1E+18", "7.0")),
    Reason.PRICE_MALFORMED: ("price", (True, {}, [9.5], "cheap", "1e400", -0.01, "NaN", "inf", "0x10")),
    Reason.EVENT_TIME_MALFORMED: ("event_time", (0, True, [], {"at": 1}, "now", "9999-01-01 00:00:00", "2020-02-30")),
    Reason.EVENT_TYPE_MALFORMED: ("event_type", (5, True, "View", [], "View!", "v" * 33, "vi\0ew")),
    Reason.TEXT_MALFORMED: ("brand", ({}, [], {"name": "a"}, [["a"]])),
    Reason.USER_ID_MISSING: ("user_id", (None, "", " ")),
    Reason.PRODUCT_ID_MISSING: ("product_id", (None, "", " ")),
    Reason.EVENT_TIME_MISSING: ("event_time", (None, "", " ")),
    Reason.EVENT_TYPE_MISSING: ("event_type", (None, "", " ")),
}


def malformed_messages(rng: Random, values: Iterable[bytes], long_every: int) -> Iterator[Malformed]:
    """Yield a malformed message per event, given as JSON; every `long_every`th has 2 MB."""
    for number, value in enumerate(values):
        make = _too_long if number % long_every == 0 else rng.choice(_KINDS)
        yield make(rng, value)


def send_half_malformed(kafka: KafkaSettings, file: Path) -> None:
    """Fill a new topic with as many messages as the file has events, every second one malformed."""
    with file.open(newline="") as lines, open_producer(kafka, topic := ensure_topic(kafka)) as producer:
        rows = csv.DictReader(lines)
        first = [json.dumps(row | {"price": "9.5"}).encode() for row in islice(rows, _POOL)]
        malformed = cycle([value for value, _ in malformed_messages(Random(7), first, _POOL)])
        for number, row in enumerate(chain(map(json.loads, first), rows)):
            value = next(malformed) if number % 2 else json.dumps(row).encode()
            producer.send(topic.name, value, row["user_id"].encode())


def _put_in(value: bytes, piece: bytes) -> bytes:
    return value.replace(b'"brand": "', b'"brand": "' + piece)


def _cut(rng: Random, value: bytes) -> Malformed:
    return value[: rng.randrange(len(value))], Reason.NOT_A_JSON_OBJECT


def _not_an_object(rng: Random, value: bytes) -> Malformed:
    depth = rng.choice([1, 100, 20_000])
    others = [b"null", b"5", b"[" + value + b"]", json.dumps(value.decode()).encode(), b"[" * depth + b"]" * depth]
    return rng.choice([*others, value * 2, b"\xef\xbb\xbf" + value]), Reason.NOT_A_JSON_OBJECT


def _not_a_number(rng: Random, value: bytes) -> Malformed:
    # The first two aren't JSON, but some parsers, such as DuckDB, read them as numbers.
    number = rng.choice([b"NaN", b"-Infinity", b"01", b"+1", b"1e", b"0x10"])
    reason = Reason.PRICE_MALFORMED if number in (b"NaN", b"-Infinity") else Reason.NOT_A_JSON_OBJECT
    return value.replace(b'"9.5"', number), reason


def _control_character(rng: Random, value: bytes) -> Malformed:
    return _put_in(value, bytes([rng.randrange(32)])), Reason.NOT_A_JSON_OBJECT


def _not_utf8(rng: Random, value: bytes) -> Malformed:
    piece = rng.choice(
        [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", bytes([rng.randrange(128, 256)])]
    )
    return _put_in(value, piece), Reason.NOT_UTF8


def _too_long(rng: Random, value: bytes) -> Malformed:
    return rng.choice([b"x" * _LARGE, _put_in(value, b"x" * _LARGE), _put_in(value, b"x" * 65_537)]), Reason.TOO_LONG


def _deep(rng: Random, value: bytes) -> Malformed:
    depth = rng.choice([2, 100, 20_000])
    return json.dumps(json.loads(value) | {"brand": 0}).encode().replace(
        b'"brand": 0', b'"brand": ' + b"[" * depth + b"]" * depth
    ), Reason.TEXT_MALFORMED


def _wrong_value(rng: Random, value: bytes) -> Malformed:
    reason, (column, values) = rng.choice(list(WRONG.items()))
    return json.dumps(json.loads(value) | {column: rng.choice(values)}).encode(), reason


def _empty(*_: object) -> Malformed:
    return None, Reason.EMPTY_MESSAGE


_KINDS: tuple[Callable[[Random, bytes], Malformed], ...] = (
    *(_cut, _not_an_object, _not_a_number, _control_character, _not_utf8, _deep, _empty),
    *[_wrong_value] * 9,
)
