"""The speed layer's half of the recent brands: the merge rule, the combiner in DuckDB and the state processor."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import reduce
from itertools import chain
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import Row
from pyspark.sql.streaming import TwsTester

from lambda_spark.brand_state import (
    RecentBrands,
    _combine_sql,
    _unpack_batches,
    merge_brands,
    most_recent,
    pack,
    unpack,
)
from lambda_spark.events import over_message_batches

LIMIT = 50
NASTY = ["tab\there", "line\nbreak", 'a "quote"', "back\\slash", "\u2028\u2029\x85", "😀", "{}", "null", "\x00", " "]

# Few names and few times, so that brands repeat and times tie; and enough of both to go beyond 50.
names = st.sampled_from([f"brand {number}" for number in range(70)] + NASTY) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5
)
times = st.integers(0, 20) | st.integers(-(2**50), 2**52)
brand_maps = st.dictionaries(names, times, max_size=80)
sightings = st.lists(st.tuples(names, times), max_size=120)


def cut(brands: Mapping[str, int]) -> list[tuple[str, int]]:
    return list(most_recent(brands, LIMIT).items())


@given(brand_maps, brand_maps, brand_maps)
def test_merging_is_commutative_associative_and_idempotent(
    one: dict[str, int], two: dict[str, int], three: dict[str, int]
) -> None:
    assert merge_brands(one, two) == merge_brands(two, one)
    assert merge_brands(merge_brands(one, two), three) == merge_brands(one, merge_brands(two, three))
    assert merge_brands(one, one) == merge_brands(one, {}) == merge_brands({}, one) == one
    assert merge_brands(merge_brands(one, two), two) == merge_brands(one, two)


@given(brand_maps, brand_maps)
def test_a_merge_keeps_the_newer_time_of_each_brand_and_changes_neither_side(
    one: dict[str, int], two: dict[str, int]
) -> None:
    before = dict(one), dict(two)
    merged = merge_brands(one, two)
    assert merged == {name: max(times[name] for times in before if name in times) for name in {**one, **two}}
    assert (one, two) == before


@given(brand_maps, st.integers(1, 60))
def test_a_list_has_at_most_the_limit_newest_first_and_ties_by_name(brands: dict[str, int], limit: int) -> None:
    kept = list(most_recent(brands, limit).items())
    assert len(kept) == min(limit, len(brands))
    assert kept == sorted(kept, key=lambda item: (-item[1], item[0]))
    assert all(((-seen, name) > (-kept[-1][1], kept[-1][0])) for name, seen in brands.items() - dict(kept).items())


@given(brand_maps, brand_maps)
def test_cutting_before_a_merge_loses_nothing(one: dict[str, int], two: dict[str, int]) -> None:
    whole = cut(merge_brands(one, two))
    assert whole == cut(merge_brands(dict(cut(one)), two)) == cut(merge_brands(dict(cut(one)), dict(cut(two))))
    assert cut(dict(whole)) == whole


@given(sightings, st.randoms(use_true_random=False), st.integers(1, 9))
def test_order_repetition_and_batches_of_events_do_not_matter(
    seen: list[tuple[str, int]], random: Any, step: int
) -> None:
    def in_batches(events: list[tuple[str, int]]) -> list[tuple[str, int]]:
        state: dict[str, int] = {}
        for start in range(0, len(events), step):
            batch = reduce(merge_brands, ({name: at} for name, at in events[start : start + step]), {})
            state = most_recent(merge_brands(state, batch), LIMIT)
        return list(state.items())

    again = seen + random.choices(seen, k=len(seen)) if seen else []
    random.shuffle(again)
    assert in_batches(again) == in_batches(seen) == cut(reduce(merge_brands, ({name: at} for name, at in seen), {}))


@given(st.dictionaries(st.integers(-(2**63), 2**63 - 1).map(str), brand_maps, max_size=5))
def test_what_is_packed_comes_out_again(users: dict[str, dict[str, int]]) -> None:
    packed = pack({user: json.dumps(brands, ensure_ascii=False) for user, brands in users.items()})
    assert {user: json.loads(brands) for user, brands in unpack(packed).items()} == users


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
    combined = over_message_batches(_combine_sql(shards, event_types))(map(kafka_rows, batches))
    rows = chain.from_iterable(batch.to_pylist() for batch in combined)
    return [
        {"shard": row["shard"], "user_id": int(user_id), "brands": json.loads(brands)}
        for row in rows
        for user_id, brands in unpack(row["packed"]).items()
    ]


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
            lists[user_id] = merge_brands(lists.get(user_id, {}), {name: seen})
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


def shard_row(**brands_of: dict[str, int]) -> Row:
    """Return what the combiner sends: user_1={"apple": 5} is user 1 with one brand."""
    return Row(shard=3, packed=pack({name[5:]: json.dumps(brands) for name, brands in brands_of.items()}))


@pytest.fixture
def shard() -> TwsTester:
    return TwsTester(RecentBrands(LIMIT))


def process(shard: TwsTester, *rows: Row) -> dict[int, list[tuple[str, int]]]:
    """Return the lists of the users that a micro-batch touches, and check that the stored ones are the same."""
    [answer] = shard.test(3, list(rows))
    assert answer.shard == 3
    lists = {int(user): list(json.loads(brands).items()) for user, brands in unpack(answer.packed).items()}
    assert lists == {user_id: stored(shard)[user_id] for user_id in lists}
    return lists


def stored(shard: TwsTester) -> dict[int, list[tuple[str, int]]]:
    [packed] = shard.peekValueState("users", 3)
    return {int(user): list(json.loads(brands).items()) for user, brands in unpack(packed).items()}


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
    shard.test(4, [Row(shard=4, packed=pack({"9": '{"sony": 1}'}))])
    assert stored(shard) == {1: [("apple", 5)]}
    assert shard.peekValueState("users", 4) == (pack({"9": '{"sony":1}'}),)


def test_nasty_names_pass_through_combiner_state_and_output(shard: TwsTester) -> None:
    nasty = [name for name in NASTY if name.strip()]
    [row] = over_message_batches(_combine_sql(1, ()))(iter([kafka_rows([message(1, name, 5) for name in nasty])]))
    for _ in range(2):  # once into an empty state, once out of it
        [answer] = shard.test(0, [Row(shard=0, packed=packed) for packed in row["packed"].to_pylist()])
    [output] = _unpack_batches(iter([pa.record_batch([pa.array([answer.packed])], ["packed"])]))
    [user] = output.to_pylist()
    assert user["user_id"] == 1
    assert user["brands"] == [
        {"brand": name, "last_seen_at": EPOCH + timedelta(microseconds=5)} for name in sorted(map(str.strip, nasty))
    ]


def test_the_output_has_one_row_per_user_and_none_for_an_empty_batch() -> None:
    packed = [pack({"1": '{"apple":5}', "-2": '{"sony":7,"lg":-3}'}), pack({"3": '{"lg":0}'})]
    batches = [pa.record_batch([pa.array(column, pa.string())], ["packed"]) for column in (packed, [])]
    full, empty = _unpack_batches(iter(batches))
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
    assert empty.schema == full.schema
