"""The merge rule over Arrow tables: order, repetition and batches do not matter, and nothing recent is lost."""

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from sighting_tables import NASTY, Seen, lists_of, sightings

from lambda_spark.history.merging import SIGHTINGS, brand_lists, drop_covered, merge, pack, unpack, update

LIMIT = 50

# Few users, names and times, so that brands repeat and times tie; and enough of them to go beyond 50.
names = st.sampled_from([f"brand {number}" for number in range(70)] + NASTY) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5
)
times = st.integers(0, 20) | st.integers(-(2**50), 2**52)
users = st.integers(1, 3) | st.integers(-(2**63), 2**63 - 1)
seen = st.tuples(users, names, times, st.integers(0, 2), st.integers(0, 9))
rows = st.lists(seen, max_size=120)
one_user = st.lists(st.tuples(st.just(1), names, times, st.just(0), st.just(0)), max_size=120)


def both(one: list[Seen], other: list[Seen]) -> pa.Table:
    return pa.concat_tables([sightings(one), sightings(other)])


@given(rows, rows, rows)
def test_merging_is_commutative_associative_and_idempotent(one: list[Seen], two: list[Seen], three: list[Seen]) -> None:
    first, second, third = map(sightings, (one, two, three))

    def join(left: pa.Table, right: pa.Table) -> pa.Table:
        return merge(pa.concat_tables([left, right]), LIMIT)

    assert join(first, second).to_pylist() == join(second, first).to_pylist()
    assert join(join(first, second), third).to_pylist() == join(first, join(second, third)).to_pylist()
    once = join(first, second)
    assert join(once, once).to_pylist() == once.to_pylist()
    assert join(once, second).to_pylist() == once.to_pylist()


@given(rows)
def test_a_merge_keeps_the_newest_time_of_each_brand_and_user(seen: list[Seen]) -> None:
    newest: dict[tuple[int, str], int] = {}
    for user, brand, at, _, _ in seen:
        newest[user, brand] = max(at, newest.get((user, brand), at))
    lists = lists_of(merge(sightings(seen)))
    assert {(user, brand): at for user, brands in lists.items() for brand, at in brands} == newest
    assert all(brands == sorted(brands, key=lambda item: (-item[1], item[0])) for brands in lists.values())


@given(one_user, st.integers(1, 60))
def test_a_list_has_at_most_the_limit_and_the_newest_of_all(seen: list[Seen], limit: int) -> None:
    everything = lists_of(merge(sightings(seen)))
    assert lists_of(merge(sightings(seen), limit)) == {user: brands[:limit] for user, brands in everything.items()}


@given(rows, rows)
def test_cutting_before_a_merge_loses_nothing(one: list[Seen], two: list[Seen]) -> None:
    cut = merge(sightings(one), LIMIT)
    assert merge(pa.concat_tables([cut, sightings(two)]), LIMIT).to_pylist() == merge(both(one, two), LIMIT).to_pylist()


@given(rows, st.randoms(use_true_random=False), st.integers(1, 9))
def test_order_repetition_and_batches_of_events_do_not_matter(seen: list[Seen], random: Any, step: int) -> None:
    again = seen + random.choices(seen, k=len(seen)) if seen else []
    random.shuffle(again)
    state = SIGHTINGS.empty_table()
    for start in range(0, len(again), step):
        state, _ = update(state, sightings(again[start : start + step]), LIMIT)
    assert merge(state).to_pylist() == merge(sightings(seen), LIMIT).to_pylist()


@given(rows, rows)
def test_an_update_returns_users_with_something_new_and_keeps_the_others(known: list[Seen], new: list[Seen]) -> None:
    before = merge(sightings(known), LIMIT)
    everything, touched = update(before, sightings(new), LIMIT)
    assert lists_of(touched).keys() == {user for user, *_ in new}
    assert lists_of(everything) == {**lists_of(before), **lists_of(touched)}


@given(rows)
def test_what_is_packed_comes_out_again(seen: list[Seen]) -> None:
    table = sightings(seen)
    assert unpack([pack(table)]).to_pylist() == table.to_pylist()
    assert (
        unpack([pack(table, compressed=True), pack(table)]).to_pylist() == pa.concat_tables([table, table]).to_pylist()
    )
    assert unpack([]).to_pylist() == SIGHTINGS.empty_table().to_pylist()


@given(rows)
def test_a_field_that_a_later_version_packed_is_passed_over(seen: list[Seen]) -> None:
    table = sightings(seen)
    later = table.append_column("note", pa.array(["later"] * len(table)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, later.schema) as stream:
        stream.write(later)
    assert unpack([sink.getvalue().to_pybytes(), pack(table)]).to_pylist() == [*table.to_pylist(), *table.to_pylist()]


@given(rows, st.dictionaries(st.integers(0, 3), st.integers(0, 9)))
def test_what_is_covered_is_dropped_by_partition_and_offset(seen: list[Seen], covered: dict[int, int]) -> None:
    kept = [row for row in seen if row[4] >= covered.get(row[3], 0)]
    assert drop_covered(sightings(seen), covered).to_pylist() == sightings(kept).to_pylist()


@given(rows, rows, st.dictionaries(st.integers(0, 2), st.integers(0, 9)))
def test_state_and_batch_view_together_have_it_all_whatever_is_covered(
    old: list[Seen], new: list[Seen], covered: dict[int, int]
) -> None:
    later = [(user, brand, at, partition, offset + 10) for user, brand, at, partition, offset in new]
    state = drop_covered(merge(sightings(old), LIMIT), covered)
    state, _ = update(state, sightings(later), LIMIT)
    batch_view = [row for row in old if row[4] < covered.get(row[3], 0)]
    together = merge(pa.concat_tables([merge(sightings(batch_view), LIMIT), state]), LIMIT)
    assert lists_of(together) == lists_of(merge(both(old, later), LIMIT))


@given(rows)
def test_lists_have_one_row_per_user(seen: list[Seen]) -> None:
    merged = merge(sightings(seen), LIMIT)
    micros = brand_lists(merged).to_pylist()
    assert [row["user_id"] for row in micros] == list(lists_of(merged))
    assert [len(row["brands"]) for row in micros] == [len(brands) for brands in lists_of(merged).values()]
