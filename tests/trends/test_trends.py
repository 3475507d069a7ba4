"""Trends: on examples computed by hand, against the formulas in plain Python, on real events and on planted ones."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from statistics import median, variance
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from helpers import NewSettings
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from lambda_spark.batch.bucket_counts import bucket_counts, count_here, open_counts
from lambda_spark.local.synthetic import planted_product_ids, write_month
from lambda_spark.pipelines import ingest_files
from lambda_spark.schemas import BUCKET_ACTIVITY, TRENDS, Row
from lambda_spark.time_ranges import EventDay, TimeRange, default_windows, parse_bucket, parse_instant
from lambda_spark.trends.score import TrendRule, trends
from lambda_spark.trends.windows import INSTANT, columns_read

UTC = timezone.utc
DAY = timedelta(days=1)
START = datetime(2019, 11, 1, tzinfo=UTC)
TWO_DAYS = [TimeRange(START, START + 2 * DAY)]
WEEK = TimeRange(START, START + 7 * DAY)
ALL_ALIKE = dict.fromkeys(("view", "cart", "remove_from_cart", "purchase", "other"), 1.0)

# The counts of each product, one per bucket.
Shop = Mapping[int, Sequence[float]]

ACTIVITY = pa.schema(
    [
        (name, {"timestamp": INSTANT, "bigint": pa.int64(), "string": pa.string(), "double": pa.float64()}[kind])
        for name, kind in (column.split() for column in BUCKET_ACTIVITY.split(","))
    ]
)


def rule(**changes: Any) -> TrendRule:
    defaults = {"rank_by": "trend_score", "count_by": "events", "top": 1_000, "weights": ALL_ALIKE}
    return TrendRule(**{**defaults, **changes})


def views(at: datetime, product_id: int, count: float) -> tuple[Any, ...]:
    """Return a row of counts: so many views, each by a different user."""
    return (at, product_id, f"brand {product_id}", "a.b", count, 0, 0, 0, count, count, None)


def activity_of(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Return rows of counts as a table, schemas.BUCKET_ACTIVITY."""
    return pa.Table.from_pylist([dict(zip(ACTIVITY.names, row, strict=True)) for row in rows], ACTIVITY)


def rank_windows(activity: pa.Table, windows: Sequence[TimeRange], a_rule: TrendRule) -> list[Row]:
    """Return the ranked products of the windows, one window after another."""
    return rows_of(pa.concat_tables(trends(activity, window, DAY, "day", a_rule) for window in windows))


def rows_of(ranked: pa.Table) -> list[Row]:
    return [SimpleNamespace(**row) for row in ranked.to_pylist()]


def rank(shops: Sequence[Shop], a_rule: TrendRule) -> list[dict[int, Row]]:
    """Rank the products of shops with equally many days, each shop in a separate window; return the rows by rank."""
    days = len(next(iter(shops[0].values())))
    starts = [START + number * (days + 1) * DAY for number in range(len(shops))]
    activity = [
        views(start + day * DAY, product_id, count)
        for start, shop in zip(starts, shops, strict=True)
        for product_id, counts in shop.items()
        for day, count in enumerate(counts)
        if count
    ]
    windows = [TimeRange(start, start + days * DAY) for start in starts]
    rows = rank_windows(activity_of(activity), windows, a_rule)
    return [
        {row.product_id: row for row in sorted(rows, key=lambda row: row.rank) if row.window_from == start}
        for start in starts
    ]


def values(ranked: Mapping[int, Row], column: str) -> dict[int, Any]:
    return {product_id: getattr(row, column) for product_id, row in ranked.items()}


def counts_of(row: Row) -> list[float]:
    return [bucket["event_count"] for bucket in row.buckets]


def about(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=1e-9)


# --- by hand: two days, so h = m = 1, b is the first day's count and r the second's; a = 20


STEADY = {1: [10, 30], 2: [30, 10], 3: [60, 60]}  # 100 events a day
RISING = {1: [10, 30], 2: [90, 270]}  # 100, then 300: each product does as the shop does
NEW = {1: [0, 8], 2: [8, 0], 3: [50, 50]}
TIES = {9: [5, 5], 4: [5, 5], 7: [6, 6]}
# Most products are quieter than chance, so that there is no over-dispersion and z = (r - b) / sqrt(r + b + 1).
QUIET = {1: [40, 100], 2: [35, 60], 3: [40, 50], 4: [595, 500], **{other: [1000, 1000] for other in range(5, 10)}}


@pytest.fixture(scope="module")
def by_hand() -> list[dict[int, Row]]:
    return rank([STEADY, RISING, NEW, TIES, QUIET], rule(smoothing=20.0, min_events=0))


def test_every_column_of_a_steady_shop(by_hand: list[dict[int, Row]]) -> None:
    ranked = by_hand[0]
    assert list(ranked) == [1, 3, 2]
    assert values(ranked, "rank") == {1: 1, 3: 2, 2: 3}
    assert values(ranked, "bucket") == {1: "day", 3: "day", 2: "day"}
    assert values(ranked, "brand") == {1: "brand 1", 3: "brand 3", 2: "brand 2"}
    assert values(ranked, "category_code") == {1: "a.b", 3: "a.b", 2: "a.b"}
    assert values(ranked, "event_count") == {1: 40, 3: 120, 2: 40}
    assert values(ranked, "user_count") == {1: 40, 3: 120, 2: 40}
    # 100 (30 - 10) / 10, 0, 100 (10 - 30) / 30
    assert values(ranked, "total_pct_increase") == about({1: 200.0, 3: 0.0, 2: -200 / 3})
    assert values(ranked, "is_new") == {1: False, 3: False, 2: False}
    # ln((30 + 20) / (10 + 20)) = ln(5/3)
    assert values(ranked, "trend_score") == about({1: 0.5108256237659907, 3: 0.0, 2: -0.5108256237659907})
    # 5/3 and 3/5
    assert values(ranked, "growth_pct") == about({1: 200 / 3, 3: 0.0, 2: -40.0})
    # (variance - mean) / mean²: (200 - 20) / 400 = 0.45 for 1 and 2, -60 / 3600 for 3; the median is φ = 0.45.
    # z of 1: (30 - 10) / sqrt(30 + 10 + 1 + 0.45 (30² + 10²)) = 20 / sqrt(491)
    assert values(ranked, "z") == about({1: 20 / math.sqrt(491), 3: 0.0, 2: -20 / math.sqrt(491)})
    assert values(ranked, "confidence") == {1: None, 3: None, 2: None}


def test_the_window_and_its_buckets_in_order(by_hand: list[dict[int, Row]]) -> None:
    row = by_hand[0][1]
    instants = [START + day * DAY for day in range(3)]
    assert [row.window_from, row.window_to] == [instants[0], instants[2]]
    assert [(each["bucket_at"], each["event_count"]) for each in row.buckets] == [(instants[0], 10), (instants[1], 30)]


def test_a_change_of_the_whole_shop_isnt_a_trend(by_hand: list[dict[int, Row]]) -> None:
    ranked = by_hand[1]
    # Levels 0.5 and 1.5: product 1 comes to 10 / 0.5 = 20 and 30 / 1.5 = 20.
    assert values(ranked, "trend_score") == about({1: 0.0, 2: 0.0})
    assert values(ranked, "total_pct_increase") == {1: 200.0, 2: 200.0}
    assert values(ranked, "z") == about({1: 0.0, 2: 0.0})


def test_a_product_without_events_in_the_first_bucket_is_new(
    by_hand: list[dict[int, Row]],
) -> None:
    ranked = by_hand[2]
    assert values(ranked, "is_new") == {1: True, 3: False, 2: False}
    assert values(ranked, "total_pct_increase") == {1: None, 3: 0.0, 2: -100.0}
    # ln(28 / 20)
    assert ranked[1].trend_score == about(math.log(1.4))
    assert ranked[1].growth_pct == about(40.0)


def test_ties_go_to_the_larger_total_then_to_the_smaller_id(by_hand: list[dict[int, Row]]) -> None:
    assert list(by_hand[3]) == [7, 4, 9]


def test_confidence_is_a_label_of_z(by_hand: list[dict[int, Row]]) -> None:
    ranked = by_hand[4]
    z = {1: 60 / math.sqrt(141), 2: 25 / math.sqrt(96), 3: 10 / math.sqrt(91), 4: -95 / math.sqrt(1096)}
    assert values(ranked, "z") == about({**z, **dict.fromkeys(range(5, 10), 0.0)})
    labels = {product_id: label for product_id, label in values(ranked, "confidence").items() if label}
    assert labels == {1: "confirmed", 2: "emerging"}


# --- by hand: four days, so the first two are the baseline and the last two recent


@pytest.fixture(scope="module")
def with_closed_days() -> list[dict[int, Row]]:
    closed_on_day_2 = {1: [10, 0, 30, 30], 2: [90, 0, 90, 90]}
    closed_at_the_end = {1: [10, 10, 0, 0], 2: [30, 10, 0, 0], 3: [5, 5, 0, 0]}
    closed_at_first = {2: [0, 0, 9, 3], 1: [0, 0, 3, 9]}
    one_open_day = {1: [0, 7, 0, 0]}
    open_all_days = {1: [20, 0, 0, 40], 2: [60, 80, 80, 40]}
    shops = [closed_on_day_2, closed_at_the_end, closed_at_first, one_open_day, open_all_days]
    return rank(shops, rule(smoothing=20.0, min_events=0))


def test_a_bucket_without_events_of_the_shop_counts_on_neither_side(with_closed_days: list[dict[int, Row]]) -> None:
    ranked = with_closed_days[0]
    # The open days have 100, 120 and 120 events, 340/3 on average: 10 becomes 34/3 and 30 becomes 85/3. m is 1, h 2.
    assert ranked[1].trend_score == about(math.log((85 / 3 + 20) / (34 / 3 + 20)))
    assert ranked[1].total_pct_increase == 200
    assert counts_of(ranked[1]) == [10, 0, 30, 30]


@pytest.mark.parametrize(("shop", "order"), [(1, [2, 1, 3]), (2, [1, 2]), (3, [1])])
def test_without_an_open_bucket_on_a_side_there_is_no_score_and_totals_rank(
    with_closed_days: list[dict[int, Row]], shop: int, order: list[int]
) -> None:
    ranked = with_closed_days[shop]
    assert list(ranked) == order
    nothing = dict.fromkeys(order)
    for column in ("trend_score", "growth_pct", "z", "confidence"):
        assert values(ranked, column) == nothing
    assert all(row.is_new == (counts_of(row)[0] == 0) for row in ranked.values())


def test_a_bucket_without_events_of_a_product_is_shown_and_counted_as_0(with_closed_days: list[dict[int, Row]]) -> None:
    ranked = with_closed_days[4]
    assert counts_of(ranked[1]) == [20, 0, 0, 40]
    # b/m = 20/2, r/h = 40/2 (levels are 80, 80, 80 and 80 events: 1)
    assert ranked[1].trend_score == about(math.log((20 + 20) / (10 + 20)))


# --- the variants of the rule


@pytest.fixture(scope="module")
def typed_activity() -> pa.Table:
    def row(day: int, product_id: int, *counts: int, users: int) -> tuple[Any, ...]:
        return (START + day * DAY, product_id, None, None, *counts[:4], sum(counts), users, None)

    # views, carts, removes, purchases, others
    rows = [
        row(0, 1, 10, 0, 0, 0, 0, users=9),
        row(1, 1, 2, 0, 0, 4, 0, users=2),
        row(0, 2, 5, 5, 0, 0, 0, users=1),
        row(1, 2, 5, 5, 0, 0, 0, users=10),
        row(1, 3, 0, 0, 0, 0, 9, users=9),
        row(0, 4, 1, 0, 0, 0, 0, users=1),
        row(1, 4, 0, 1, 1, 0, 1, users=1),
    ]
    return activity_of(rows)


@pytest.mark.parametrize(
    ("changes", "order", "totals"),
    [
        ({}, [3, 4, 2, 1], [9, 4, 20, 16]),
        ({"rank_by": "events"}, [2, 1, 3, 4], [20, 16, 9, 4]),
        # A new product has no percentage and ranks last.
        ({"rank_by": "total_pct_increase"}, [4, 2, 1, 3], [4, 20, 16, 9]),
        # Product 4 never had two users in one bucket. Its users count in the shop's level.
        ({"count_by": "users"}, [3, 2, 1], [9, 20, 16]),
        ({"rank_by": "events", "count_by": "users"}, [2, 1, 3], [20, 16, 9]),
        ({"rank_by": "events", "weights": {**ALL_ALIKE, "purchase": 5.0}}, [1, 2, 3, 4], [32, 20, 9, 4]),
        ({"rank_by": "events", "weights": {**ALL_ALIKE, "view": 0.0, "other": 0.5}}, [2, 3, 1, 4], [10, 4.5, 4, 2.5]),
        ({"rank_by": "events", "top": 2}, [2, 1], [20, 16]),
        ({"rank_by": "events", "min_events": 9}, [2, 1, 3], [20, 16, 9]),
        ({"rank_by": "events", "min_events": 10}, [2, 1], [20, 16]),
        ({"min_events": 21}, [], []),
    ],
)
def test_ranking_counting_weights_top_and_support(
    typed_activity: pa.Table, changes: dict[str, Any], order: list[int], totals: list[float]
) -> None:
    rows = rank_windows(typed_activity, TWO_DAYS, rule(**{"min_events": 0, **changes}))
    assert [row.product_id for row in rows] == order
    assert [row.event_count for row in rows] == totals
    assert [row.rank for row in rows] == list(range(1, len(order) + 1))


def test_without_any_weight_there_is_no_trend_and_no_error(typed_activity: pa.Table) -> None:
    weightless = rule(weights=dict.fromkeys(ALL_ALIKE, 0.0))
    assert rank_windows(typed_activity, TWO_DAYS, weightless) == []


def test_smoothing_and_support_follow_the_size_of_the_shop() -> None:
    # a is a thousandth of what counts per bucket, from 1 to 10; products are ranked from 8 a on.
    def shop(per_day: int, a: int) -> Shop:
        return {1: [0, 8 * a], 2: [0, 8 * a - 1], 3: [per_day, per_day - 16 * a + 1]}

    shops = [shop(500, 1), shop(5_000, 5), shop(100_000, 10)]
    for ranked in [*rank(shops, rule()), *rank(shops, rule(count_by="users"))]:
        assert set(ranked) == {1, 3}
        assert ranked[1].trend_score == about(math.log(9))  # (8 a + a) / (0 + a)


# --- by distinct users


def test_the_score_is_of_users_and_other_figures_of_events(typed_activity: pa.Table) -> None:
    a_rule = rule(count_by="users", min_events=0, smoothing=1.0)
    ranked = {row.product_id: row for row in rank_windows(typed_activity, TWO_DAYS, a_rule)}
    # Users a day are 11 and 22: levels 2/3 and 4/3. Product 1 has 9 and 2 users, 2 has 1 and 10, 3 has 0 and 9.
    scores = {
        1: math.log((1.5 + 1) / (13.5 + 1)),
        2: math.log((7.5 + 1) / (1.5 + 1)),
        3: math.log((6.75 + 1) / (0 + 1)),
    }
    assert values(ranked, "trend_score") == about(scores)
    assert counts_of(ranked[1]) == [10, 6]
    assert values(ranked, "event_count") == {1: 16, 2: 20, 3: 9}
    assert values(ranked, "user_count") == {1: 11, 2: 11, 3: 9}
    assert values(ranked, "total_pct_increase") == {1: about(-40.0), 2: 0.0, 3: None}


# A shop of some products with steady users, of which one doubles. Each user makes two events a bucket.
USERS = {product_id: [40 + product_id % 7] * 7 for product_id in range(1, 31)} | {31: [40] * 4 + [80] * 3}
LONER, VISITED = 99, 5


def with_another_user(product_id: int, events_by_bucket: Sequence[int]) -> pa.Table:
    """Return the counts of the shop and of another user, who makes so many events on one product."""
    rows = []
    for each, users in {LONER: [0] * 7, **USERS}.items():
        for day, (count, extra) in enumerate(zip(users, events_by_bucket, strict=True)):
            is_there = each == product_id and extra > 0
            events, seen = 2 * count + extra * is_there, count + is_there
            if events:
                rows.append({"bucket_at": START + day * DAY, "product_id": each, "brand": "b", "category_code": None})
                rows[-1] |= {"event_count": events, "user_count": seen}
    return pa.Table.from_pylist(rows).set_column(0, "bucket_at", pa.array([row["bucket_at"] for row in rows], INSTANT))


@given(
    product_id=st.sampled_from([LONER, VISITED]),
    events_by_bucket=st.lists(st.integers(0, 1_000_000), min_size=7, max_size=7),
    min_events=st.sampled_from([None, 0]),
)
def test_a_single_user_makes_no_trend_with_any_number_of_events(
    product_id: int, events_by_bucket: list[int], min_events: int | None
) -> None:
    def ranked(events: list[int]) -> dict[int, Row]:
        a_rule = rule(count_by="users", min_events=min_events, smoothing=5.0)
        return {row.product_id: row for row in rank_windows(with_another_user(product_id, events), [WEEK], a_rule)}

    found = ranked(events_by_bucket)
    assert found[31].rank == 1
    assert LONER not in found
    assert found[VISITED].confidence is None
    assert found[VISITED].trend_score <= math.log(1 + 1 / (40 + 5)) + 0.01
    # The number of events makes no difference, only that the user was there.
    once = ranked([min(count, 1) for count in events_by_bucket])
    for column in ("rank", "trend_score", "growth_pct", "z", "confidence", "user_count"):
        assert values(found, column) == values(once, column)


# --- the formulas in plain Python


def reference(shop: Shop, smoothing: float | None = None, min_events: float | None = None) -> dict[int, dict[str, Any]]:
    """Compute the figures of each supported product from the formulas of the design."""
    n = len(next(iter(shop.values())))
    totals = [sum(counts[i] for counts in shop.values()) for i in range(n)]
    mean_total = sum(totals) / sum(total > 0 for total in totals)
    a = smoothing or min(max(mean_total / 1_000, 1.0), 10.0)
    first_recent = n - max(1, round(3 * n / 7))
    open_buckets = [i for i in range(n) if totals[i] > 0]
    adjusted = {
        product_id: {i: counts[i] * mean_total / totals[i] for i in open_buckets}
        for product_id, counts in shop.items()
        if sum(counts) >= (8 * a if min_events is None else min_events)
    }
    means = {product_id: sum(counts.values()) / len(counts) for product_id, counts in adjusted.items()}
    phi = median((variance(c.values()) - means[p]) / means[p] ** 2 for p, c in adjusted.items()) if adjusted else 0
    phi = max(phi, 0.0)
    figures = {}
    for product_id, counts in adjusted.items():
        recent = [count for i, count in counts.items() if i >= first_recent]
        base = [count for i, count in counts.items() if i < first_recent]
        h, m, r, b = len(recent), len(base), sum(recent), sum(base)
        expected = h / m * b
        score = math.log((r / h + a) / (b / m + a))
        first, last = shop[product_id][0], shop[product_id][-1]
        figures[product_id] = {
            "event_count": sum(shop[product_id]),
            "total_pct_increase": 100 * (last - first) / first if first else math.nan,
            "is_new": first == 0,
            "trend_score": score,
            "growth_pct": 100 * (math.exp(score) - 1),
            "z": (r - expected) / math.sqrt(r + (h / m) ** 2 * b + 1 + phi * (r**2 / h + expected**2 / m)),
        }
    return figures


def assert_as_computed(rows: Sequence[Row], expected: Mapping[int, Mapping[str, Any]]) -> None:
    assert {row.product_id for row in rows} == set(expected)
    for row in rows:
        shown = {name: getattr(row, name) for name in expected[row.product_id]}
        figures = {name: math.nan if value is None else value for name, value in shown.items()}
        assert figures == pytest.approx(expected[row.product_id], rel=1e-9, abs=1e-9, nan_ok=True)
        label = "confirmed" if row.z >= 3 else "emerging" if row.z >= 2 else None
        assert row.confidence == label
    best_first = sorted(rows, key=lambda row: (-row.trend_score, -row.event_count, row.product_id))
    assert [row.rank for row in best_first] == list(range(1, len(rows) + 1))


def test_random_shops_match_plain_python_and_windows_are_independent() -> None:
    random = Random(7)
    closed = 11
    counts = {
        (day, product_id): count
        for day in range(21)
        for product_id in range(60)
        if day != closed and (count := max(0, int(random.gauss(product_id, 5 + product_id * day / 20))))
    }
    activity = activity_of([views(START + d * DAY, p, c) for (d, p), c in counts.items()])
    firsts = [0, 1, 8, 14]  # the first two overlap, the third has the closed day
    ranges = [TimeRange(START + first * DAY, START + (first + 7) * DAY) for first in firsts]
    rows = rank_windows(activity, ranges, rule())
    for first, asked in zip(firsts, ranges, strict=True):
        shop = {p: [counts.get((d, p), 0) for d in range(first, first + 7)] for p in range(60)}
        expected = reference({product_id: days for product_id, days in shop.items() if sum(days)})
        assert len(expected) > 40
        assert_as_computed([row for row in rows if row.window_from == asked.start], expected)
    alone = rank_windows(activity, ranges[1:2], rule())
    assert alone == [row for row in rows if row.window_from == ranges[1].start]


def test_columns_and_types_are_those_of_the_table(spark: SparkSession, typed_activity: pa.Table) -> None:
    schema = spark.createDataFrame(trends(typed_activity, TWO_DAYS[0], DAY, "day", rule())).schema
    contract = spark.createDataFrame([], TRENDS).schema
    assert [(f.name, f.dataType.simpleString()) for f in schema] == [
        (f.name, f.dataType.simpleString()) for f in contract
    ]


# --- real events


def test_ten_minute_buckets_of_a_real_morning(
    spark: SparkSession, new_settings: NewSettings, real_file: Callable[[str], Path]
) -> None:
    path = real_file("rees46-multi-2019-10-01.csv")
    asked = TimeRange(parse_instant("2019-10-01"), parse_instant("2019-10-01T02:50:00"))
    size = parse_bucket("10 minutes")
    settings = new_settings()
    ingest_files(spark, settings, [path])
    root, columns = settings.data_root, columns_read(ALL_ALIKE)
    activity = bucket_counts(count_here, root, open_counts(root), asked, size, columns)
    rows = rows_of(trends(activity, asked, size, "10 minutes", rule(top=10_000, min_events=3)))

    events = pd.read_csv(path).dropna(subset=["user_session"])
    events["at"] = pd.to_datetime(events["event_time"], format="%Y-%m-%d %H:%M:%S UTC", utc=True)
    events = events[events["at"] < asked.end]
    events["bucket"] = (events["at"] - asked.start) // size
    grid = events.groupby(["product_id", "bucket"]).size().unstack(fill_value=0)
    assert list(grid.columns) == list(range(17))
    shop = {int(product_id): [int(count) for count in counts] for product_id, *counts in grid.itertuples()}
    assert_as_computed(rows, reference(shop, min_events=3))
    users = events.groupby(["product_id", "bucket"])["user_id"].nunique().groupby("product_id").sum()
    for row in rows:
        assert counts_of(row) == shop[row.product_id]
        assert row.user_count == users[row.product_id]
        assert row.bucket == "10 minutes"
    assert len(rows) > 1_000


# --- planted trends


def test_the_planted_trends_of_the_generated_month_are_the_best(
    spark: SparkSession, new_settings: NewSettings, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    write_month(tmp_path / "month.csv")
    settings = new_settings()
    ingest_files(spark, settings, [tmp_path / "month.csv"])
    root, month = settings.data_root, TimeRange(START, START + 30 * DAY)
    activity = bucket_counts(count_here, root, open_counts(root), month, DAY, columns_read(ALL_ALIKE))
    days = [EventDay((START + day * DAY).date(), START + day * DAY, START + (day + 1) * DAY) for day in range(30)]
    last_week = default_windows(days, 7)[-1]
    planted = set(planted_product_ids())

    def precision_at_20(**changes: Any) -> float:
        best = trends(activity, last_week, DAY, "day", rule(top=20, **changes))
        return len(set(best["product_id"].to_pylist()) & planted) / 20

    names = ("trend_score", "total_pct_increase", "events")
    precision = {name: precision_at_20(rank_by=name, count_by="users") for name in names}
    precision["raw percentage"] = precision_at_20(rank_by="total_pct_increase", min_events=0)
    for name, value in precision.items():
        record_property(f"precision at 20 by {name}", value)
    print(precision)
    assert precision["trend_score"] == 1.0
    assert precision["raw percentage"] <= 0.5
    assert precision["events"] <= 0.2
