"""A thousand malformed messages among well-formed ones: each is rejected with its reason, and nothing else is."""

import json
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from conftest import NewSettings
from deltalake import DeltaTable
from helpers import event, expected_lists, stored_lists
from kafka import KafkaProducer
from pyspark.sql import SparkSession

from lambda_spark import identity, pipelines
from lambda_spark.kafka_settings import KafkaSettings
from lambda_spark.rejects import Reason
from lambda_spark.tables import EVENTS, RECENT_BRANDS, REJECTED_EVENTS, Table, path_of

Malformed = tuple[bytes | None, Reason]
Event = dict[str, str]

LARGE = 2_000_000
NO_ID = (True, {"id": 1}, [1], "abc", "1 2", "0x1f", "1" * 30, str(2**63), 2**63, -(10**25), 10**400)
WRONG = {
    Reason.USER_ID_MALFORMED: ("user_id", NO_ID),
    Reason.PRODUCT_ID_MALFORMED: ("product_id", NO_ID),
    Reason.CATEGORY_ID_MALFORMED: ("category_id", NO_ID),
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


def random_event(rng: random.Random) -> Event:
    return event(f"2020-03-0{rng.randint(1, 3)} 12:00:{rng.randint(10, 59)}", rng.randint(1, 9), rng.randint(1, 9))


def put_in(value: bytes, piece: bytes) -> bytes:
    return value.replace(b'"brand": "', b'"brand": "' + piece)


def cut(rng: random.Random, value: bytes) -> Malformed:
    return value[: rng.randrange(len(value))], Reason.NOT_A_JSON_OBJECT


def no_object(rng: random.Random, value: bytes) -> Malformed:
    depth = rng.choice([1, 100, 20_000])
    others = [b"null", b"5", b"[" + value + b"]", json.dumps(value.decode()).encode(), b"[" * depth + b"]" * depth]
    return rng.choice([*others, value * 2, b"\xef\xbb\xbf" + value]), Reason.NOT_A_JSON_OBJECT


def no_number(rng: random.Random, value: bytes) -> Malformed:
    # The first two are no JSON, but read as numbers by some, DuckDB among them.
    number = rng.choice([b"NaN", b"-Infinity", b"01", b"+1", b"1e", b"0x10"])
    reason = Reason.PRICE_MALFORMED if number in (b"NaN", b"-Infinity") else Reason.NOT_A_JSON_OBJECT
    return value.replace(b'"9.5"', number), reason


def control_character(rng: random.Random, value: bytes) -> Malformed:
    return put_in(value, bytes([rng.randrange(32)])), Reason.NOT_A_JSON_OBJECT


def no_utf8(rng: random.Random, value: bytes) -> Malformed:
    piece = rng.choice(
        [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", bytes([rng.randrange(128, 256)])]
    )
    return put_in(value, piece), Reason.NOT_UTF8


def too_long(rng: random.Random, value: bytes) -> Malformed:
    return rng.choice([b"x" * LARGE, put_in(value, b"x" * LARGE), put_in(value, b"x" * 65_537)]), Reason.TOO_LONG


def deep(rng: random.Random, value: bytes) -> Malformed:
    depth = rng.choice([2, 100, 20_000])
    return json.dumps(json.loads(value) | {"brand": 0}).encode().replace(
        b'"brand": 0', b'"brand": ' + b"[" * depth + b"]" * depth
    ), Reason.TEXT_MALFORMED


def wrong_value(rng: random.Random, value: bytes) -> Malformed:
    reason, (column, values) = rng.choice(list(WRONG.items()))
    return json.dumps(json.loads(value) | {column: rng.choice(values)}).encode(), reason


def empty(*_: object) -> Malformed:
    return None, Reason.EMPTY_MESSAGE


KINDS: tuple[Callable[[random.Random, bytes], Malformed], ...] = (
    *(cut, no_object, no_number, control_character, no_utf8, deep, empty),
    *[wrong_value] * 9,
)


def malformed_messages(rng: random.Random, count: int) -> Iterator[Malformed]:
    for number in range(count):
        make = too_long if number % 100 == 0 else rng.choice(KINDS)
        yield make(rng, json.dumps(random_event(rng)).encode())


def unusual_value(rng: random.Random, row: Event) -> bytes:
    """Return an event as JSON, sometimes with what an event may have too."""
    unknown = rng.choice([{}, {"more": None}, {"more": [[[{}]]] * 9}, {"User_ID": "x", "": 1}])
    numbers = {name: int(row[name]) for name in rng.sample(["user_id", "product_id"], rng.randint(0, 2))}
    value = json.dumps(row | unknown | numbers, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.1:
        value = value[:-1] + ', "deep": ' + "[" * 20_000 + "]" * 20_000 + "}"
    return f" \r\n\t{value}\n".encode()


@pytest.fixture(scope="module")
def run(spark: SparkSession, new_run: NewSettings) -> SimpleNamespace:
    """Send them all in one mix, and let both layers read it."""
    rng, settings = random.Random(11), new_run(partitions=3)
    rows = [
        random_event(rng) | {"brand": rng.choice(["b", "Ålma", 'x"y', "a\\b", "c\td", "e\x01f"])} for _ in range(300)
    ]
    mix: list[tuple[bytes | None, Reason | Event]] = [(unusual_value(rng, row), row) for row in rows]
    mix += malformed_messages(rng, 1_000)
    rng.shuffle(mix)
    sent = dict(zip(send_under_any_key(rng, settings.kafka, [value for value, _ in mix]), mix, strict=True))
    counts = pipelines.ingest_topic(spark, settings, available_now=True)
    received = pipelines.speed_stream(spark, settings, available_now=True)
    return SimpleNamespace(settings=settings, sent=sent, rows=rows, received=(counts.batch_received, received))


def send_under_any_key(rng: random.Random, kafka: KafkaSettings, values: list[bytes | None]) -> list[tuple[int, int]]:
    """Send values under no key, an empty one, or another than the user's; return partitions and offsets."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, max_request_size=8_000_000)
    keys = (b"", b"\xff", b"1", b"2", None)
    # The producer wants a key or a value.
    sent = [producer.send(kafka.topic, value, rng.choice(keys[: 4 if value is None else 5])) for value in values]
    producer.flush()
    producer.close()
    return [(future.get().partition, future.get().offset) for future in sent]


def stored(run: SimpleNamespace, table: Table) -> dict[tuple[int, int], dict[str, object]]:
    rows = DeltaTable(path_of(run.settings.data_root, table)).to_pyarrow_table().to_pylist()
    by_place = {(row["source_partition"], row["source_offset"]): row for row in rows}
    assert len(by_place) == len(rows)
    return by_place


def test_both_layers_receive_them_all(run: SimpleNamespace) -> None:
    assert run.received == (1_300, 1_300)


def test_each_malformed_message_is_rejected_with_its_reason_at_its_coordinates(run: SimpleNamespace) -> None:
    wanted = {place: (value, reason.value) for place, (value, reason) in run.sent.items() if isinstance(reason, Reason)}
    found = stored(run, REJECTED_EVENTS)
    assert {place: row["reason"] for place, row in found.items()} == {
        place: said for place, (_, said) in wanted.items()
    }
    assert len(wanted) == 1_000
    assert {row["reason"] for row in found.values()} >= {reason.value for reason in WRONG}
    assert {place: row["value"] for place, row in found.items()} == {
        place: value if value is None else value.decode(errors="backslashreplace")
        for place, (value, _) in wanted.items()
    }


def test_each_well_formed_message_is_an_event_at_its_coordinates(run: SimpleNamespace) -> None:
    wanted = {
        place: (row["user_id"], row["product_id"], row["brand"])
        for place, (_, row) in run.sent.items()
        if not isinstance(row, Reason)
    }
    found = stored(run, EVENTS)
    assert {p: (str(r["user_id"]), str(r["product_id"]), r["brand"]) for p, r in found.items()} == wanted


def test_the_lists_of_the_speed_layer_are_those_of_the_master_dataset(
    run: SimpleNamespace, spark: SparkSession
) -> None:
    assert stored_lists(run.settings.data_root, RECENT_BRANDS) == expected_lists(run.rows)
    differences = identity.check_identity(spark, run.settings)
    assert differences
    assert all(difference.is_none for difference in differences)
