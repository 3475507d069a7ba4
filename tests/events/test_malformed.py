"""A thousand malformed messages among well-formed ones: each is rejected with its reason, and nothing else is."""

import json
import random
from types import SimpleNamespace

import pytest
from deltalake import DeltaTable
from helpers import NewSettings, event, expected_lists, stored_lists
from kafka import KafkaProducer
from pyspark.sql import SparkSession

from bench.malformed import WRONG, malformed_messages
from lambda_spark import pipelines
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, REJECTED_EVENTS, Table, path_of
from lambda_spark.schemas import Reason
from lambda_spark.serving import verification
from lambda_spark.settings import KafkaSettings

pytestmark = pytest.mark.fault("a thousand malformed messages")

Event = dict[str, str]


def random_event(rng: random.Random) -> Event:
    return event(f"2020-03-0{rng.randint(1, 3)} 12:00:{rng.randint(10, 59)}", rng.randint(1, 9), rng.randint(1, 9))


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
    mix += malformed_messages(rng, (json.dumps(random_event(rng)).encode() for _ in range(1_000)), 100)
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
    differences = verification.check_identity(spark, run.settings)
    assert differences
    assert all(difference.is_none for difference in differences)
