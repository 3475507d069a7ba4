"""The speed layer: the combiner in DuckDB, the state processor, and what a micro-batch adds to the realtime views."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import Row
from pyspark.sql.streaming import TwsTester
from sighting_tables import NASTY, Lists, lists_of, table_of

from lambda_spark.history import merging
from lambda_spark.speed import state
from lambda_spark.speed.micro_batches import view_rows
from lambda_spark.speed.state import RecentBrands, combiner

LIMIT = 50


# --- the combiner


EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def kafka_rows(values: list[bytes | None]) -> pa.RecordBatch:
    columns = {
        "value": pa.array(values, pa.binary()),
        "topic": pa.repeat("shop-events", len(values)),
        "partition": pa.repeat(pa.scalar(0, pa.int32()), len(values)),
        "offset": pa.array(range(len(values)), pa.int64()),
    }
    return pa.record_batch(list(columns.values()), list(columns))


def message(user_id: int, brand: str | None, seen_at: int, event_type: str = "view", product_id: str = "1") -> bytes:
    instant = (EPOCH + timedelta(microseconds=seen_at)).isoformat(sep=" ", timespec="microseconds")
    event = {"event_time": instant, "event_type": event_type, "product_id": product_id}
    return json.dumps({**event, "user_id": user_id, "brand": brand}).encode()


def combine(batches: list[list[bytes | None]], shards: int, event_types: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Return (shard, user_id, brands) as they leave the combiner: one for each user of each batch."""
    combined = combiner(shards, event_types)(map(kafka_rows, batches))
    rows = chain.from_iterable(batch.to_pylist() for batch in combined)
    return [
        {"shard": row["shard"], "user_id": user_id, "brands": dict(brands)}
        for row in rows
        if row["shard"] >= 0
        for user_id, brands in lists_of(merging.unpack([row["packed"]])).items()
    ]


def packed_rows(packed: Mapping[int, bytes]) -> pa.RecordBatch:
    columns = {"shard": pa.array(list(packed), pa.int32()), "packed": pa.array(list(packed.values()), pa.binary())}
    return pa.record_batch(columns)


users = st.sampled_from([0, 1, -1, 520088904, 1515915625353226922, 2**63 - 1, -(2**63)])
plain_names = st.sampled_from([name for name in NASTY if name.strip()] + ["apple", "zyxel", "ёлочка"])
moments = st.integers(0, 5) | st.integers(-(2**50), 2**52)
events = st.lists(st.tuples(users, plain_names, moments), max_size=40)


@settings(max_examples=40, deadline=None)
@given(st.lists(events, min_size=1, max_size=3), st.sampled_from([1, 8, 256, 4_096]))
def test_the_combiner_keeps_to_the_merge_rule(batches: list[list[tuple[int, str, int]]], shards: int) -> None:
    expected: list[tuple[int, dict[str, int]]] = []
    for batch in batches:
        lists: dict[int, dict[str, int]] = {}
        for user_id, name, seen in batch:
            lists.setdefault(user_id, {})[name] = max(seen, lists.get(user_id, {}).get(name, seen))
        expected += lists.items()
    rows = combine([[message(*event) for event in batch] for batch in batches], shards)
    lists_of_users = sorted((row["user_id"], sorted(row["brands"].items())) for row in rows)
    assert lists_of_users == sorted((user_id, sorted(brands.items())) for user_id, brands in expected)
    assert all(0 <= row["shard"] < shards for row in rows)
    assert len({(row["shard"], row["user_id"]) for row in rows}) == len({row["user_id"] for row in rows})


def test_the_combiner_passes_over_what_is_no_event_has_no_brand_or_is_not_asked_for() -> None:
    values = [
        None,
        b"\xff",
        b"no JSON",
        message(1, "rejected", 9, product_id="2.1e18"),
        message(1, "Apple ", 5),
        message(1, "APPLE", 7, "cart"),
        message(1, "apple", 9, "collect"),
        message(1, "Unknown", 9),
        message(1, " ", 9),
        message(2, None, 9),
        message(3, "it's", 3, "purchase"),
    ]
    assert combine([values], 1) == [
        {"shard": 0, "user_id": 1, "brands": {"apple": 9}},
        {"shard": 0, "user_id": 3, "brands": {"it's": 3}},
    ]
    assert combine([values], 1, ("view", "cart")) == [{"shard": 0, "user_id": 1, "brands": {"apple": 7}}]
    assert combine([[None], []], 1) == []


def test_the_shard_of_a_user_never_changes() -> None:
    # A stored state is lost to its users where they are sent to another shard: these numbers may never change.
    shards = {0: 0, 1: 55, -1: 55, 520088904: 146, 1515915625353226922: 26, 2**63 - 1: 55, -(2**63): 110}
    rows = combine([[message(user_id, "apple", 1) for user_id in shards]], 256)
    assert {row["user_id"]: row["shard"] for row in rows} == shards


def test_users_spread_evenly_over_the_shards() -> None:
    for ids in (range(512_000_000, 512_008_000), range(1515915625353226922, 1515915625353226922 + 16 * 8_000, 16)):
        shards = [row["shard"] for row in combine([[message(user_id, "apple", 1) for user_id in ids]], 16)]
        assert all(350 <= shards.count(shard) <= 650 for shard in range(16))


# --- the state of a shard


def shard_row(offset: int = 0, **brands_of: Mapping[str, int]) -> Row:
    """Return what the combiner sends: user_1={"apple": 5} is user 1 with one brand, told by the message at `offset`."""
    users = {int(name[5:]): brands for name, brands in brands_of.items()}
    return Row(shard=3, packed=merging.pack(table_of(users, offset)))


@pytest.fixture
def shard() -> TwsTester:
    return TwsTester(RecentBrands(LIMIT))


def process(shard: TwsTester, *rows: Row) -> Lists:
    """Return the lists of the users that a micro-batch touches, and check that the stored ones are the same."""
    [answer] = shard.test(3, list(rows))
    assert answer.shard == 3
    lists = lists_of(merging.unpack([answer.packed]))
    assert lists == {user_id: stored(shard)[user_id] for user_id in lists}
    return lists


def stored(shard: TwsTester, number: int = 3) -> Lists:
    return lists_of(merging.unpack(shard.peekValueState("sightings", number)))


def test_a_first_batch_is_stored_newest_first(shard: TwsTester) -> None:
    assert process(shard, shard_row(user_1={"apple": 5, "sony": 9})) == {1: [("sony", 9), ("apple", 5)]}
    assert stored(shard) == {1: [("sony", 9), ("apple", 5)]}


def test_a_second_batch_is_merged_into_what_is_stored(shard: TwsTester) -> None:
    process(shard, shard_row(user_1={"apple": 5, "sony": 9}))
    assert process(shard, shard_row(user_1={"apple": 10, "bosch": 7})) == {
        1: [("apple", 10), ("sony", 9), ("bosch", 7)]
    }


def test_a_late_event_takes_its_place_by_its_own_time(shard: TwsTester) -> None:
    process(shard, shard_row(user_1={"apple": 5, "sony": 9}))
    assert process(shard, shard_row(user_1={"apple": 1, "bosch": 6})) == {1: [("sony", 9), ("bosch", 6), ("apple", 5)]}


def test_a_duplicate_changes_nothing(shard: TwsTester) -> None:
    once = process(shard, shard_row(user_1={"apple": 5, "sony": 9}))
    assert process(shard, shard_row(user_1={"apple": 5, "sony": 9})) == once == stored(shard)


def test_brand_51_drops_the_oldest_and_a_dropped_one_comes_back_when_seen_again(shard: TwsTester) -> None:
    process(shard, shard_row(user_1={f"brand {n}": n for n in range(50)}))
    [newest, *others] = process(shard, shard_row(user_1={"apple": 99}))[1]
    assert newest == ("apple", 99)
    assert others == [(f"brand {n}", n) for n in range(49, 0, -1)]
    # Older than all that are kept: nothing comes of it.
    assert process(shard, shard_row(user_1={"brand 0": 0}))[1] == [newest, *others]
    assert process(shard, shard_row(user_1={"brand 0": 100}))[1] == [("brand 0", 100), newest, *others[:-1]]


def test_of_brands_seen_at_the_same_time_the_first_by_name_are_kept(shard: TwsTester) -> None:
    process(shard, shard_row(user_1={f"b{n:02}": 7 for n in range(60, 0, -1)}))
    assert stored(shard)[1] == [(f"b{n:02}", 7) for n in range(1, 51)]
    process(shard, shard_row(user_1={"b00": 7, "b99": 7}))
    assert stored(shard)[1] == [(f"b{n:02}", 7) for n in range(50)]


def test_users_of_one_shard_stay_apart_and_only_those_touched_are_returned(shard: TwsTester) -> None:
    assert process(shard, shard_row(user_1={"apple": 5}, user_22={"sony": 6})) == {1: [("apple", 5)], 22: [("sony", 6)]}
    assert process(shard, shard_row(user_22={"apple": 9})) == {22: [("apple", 9), ("sony", 6)]}
    assert stored(shard) == {1: [("apple", 5)], 22: [("apple", 9), ("sony", 6)]}


def test_several_rows_of_one_micro_batch_become_one_list_per_user(shard: TwsTester) -> None:
    process(shard, shard_row(user_1={"apple": 1}))
    rows = [shard_row(user_1={"sony": 3}), shard_row(user_2={"lg": 4}), shard_row(user_1={"sony": 2, "lg": 2})]
    assert process(shard, *rows) == {1: [("sony", 3), ("lg", 2), ("apple", 1)], 2: [("lg", 4)]}


def test_shards_have_a_state_of_their_own(shard: TwsTester) -> None:
    process(shard, shard_row(user_1={"apple": 5}))
    shard.test(4, [Row(shard=4, packed=merging.pack(table_of({9: {"sony": 1}})))])
    assert stored(shard) == {1: [("apple", 5)]}
    assert stored(shard, 4) == {9: [("sony", 1)]}


def test_nasty_names_pass_through_combiner_state_and_output(shard: TwsTester) -> None:
    nasty = [name for name in NASTY if name.strip()]
    [row] = combiner(1, ())(iter([kafka_rows([message(1, name, 5) for name in nasty])]))
    for _ in range(2):  # once into an empty state, once out of it
        [answer] = shard.test(0, [Row(shard=0, packed=packed) for packed in row["packed"].to_pylist()])
    [[output]] = view_rows(0, "shop", {})(iter([packed_rows({0: answer.packed})]))
    [user] = output.to_pylist()
    assert user["user_id"] == 1
    assert user["brands"] == [
        {"brand": name, "last_seen_at": EPOCH + timedelta(microseconds=5)} for name in sorted(map(str.strip, nasty))
    ]


def test_what_the_batch_view_covers_leaves_the_state_and_what_came_later_stays(
    shard: TwsTester, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(shard, shard_row(offset=7, user_1={"apple": 5, "sony": 9}, user_2={"lg": 1}))
    process(shard, shard_row(offset=8, user_1={"bosch": 6}))
    monkeypatch.setattr(state, "_covered", lambda: {0: 8, 1: 99})
    process(shard, shard_row(offset=9, user_3={"beko": 2}))
    assert stored(shard) == {1: [("bosch", 6)], 3: [("beko", 2)]}
    assert process(shard, shard_row(offset=10, user_1={"apple": 4})) == {1: [("bosch", 6), ("apple", 4)]}


def test_the_output_has_one_row_per_user_and_none_for_an_empty_batch() -> None:
    packed = [merging.pack(table_of(users)) for users in ({1: {"apple": 5}, -2: {"sony": 7, "lg": -3}}, {3: {"lg": 0}})]
    batches = [packed_rows(dict(enumerate(packed))), packed_rows({})]
    [full], [empty] = view_rows(7, "shop", {1: 9})(iter(batches))
    told = {name: full[name].to_pylist() for name in ("batch_id", "source_topic", "source_offsets")}
    assert told == {"batch_id": [7] * 3, "source_topic": ["shop"] * 3, "source_offsets": [[(1, 9)]] * 3}
    full = full.select(["user_id", "brands"])
    instants = {seen: EPOCH + timedelta(microseconds=seen) for seen in (5, 7, -3, 0)}
    assert full.to_pylist() == [
        {"user_id": 1, "brands": [{"brand": "apple", "last_seen_at": instants[5]}]},
        {
            "user_id": -2,
            "brands": [
                {"brand": "sony", "last_seen_at": instants[7]},
                {"brand": "lg", "last_seen_at": instants[-3]},
            ],
        },
        {"user_id": 3, "brands": [{"brand": "lg", "last_seen_at": instants[0]}]},
    ]
    assert empty.num_rows == 0
    assert empty.select(["user_id", "brands"]).schema == full.schema
