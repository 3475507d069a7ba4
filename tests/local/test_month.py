"""The full month: the same files on any number of cores, a shop like REES46's, detectable planted trends."""

from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from lambda_spark.errors import EventFileError
from lambda_spark.local.synthetic import day_file, generate_day, large_shop, planted_product_ids, write_full_month
from lambda_spark.local.synthetic_shop import events_by_day, make_catalogue
from lambda_spark.schemas import EVENT_COLUMNS

EVENTS = 300_000


@pytest.fixture(scope="module")
def folder(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "month"
    write_full_month(spark, folder, EVENTS, lambda *_: None)
    return folder


@pytest.fixture(scope="module")
def month(folder: Path) -> pd.DataFrame:
    days = [pd.read_csv(file, dtype=str, keep_default_na=False) for file in sorted(folder.iterdir())]
    return pd.concat(days, ignore_index=True)


def test_there_is_one_file_a_day_in_the_order_of_time(folder: Path, month: pd.DataFrame) -> None:
    assert sorted(file.name for file in folder.iterdir()) == [f"2019-11-{day:02}.csv" for day in range(1, 31)]
    assert tuple(month.columns) == EVENT_COLUMNS
    assert len(month) == EVENTS
    assert month["event_time"].is_monotonic_increasing
    by_day = month.groupby(month["event_time"].str[:10]).size()
    assert by_day.tolist() == events_by_day(EVENTS).tolist()
    assert month["event_time"].iloc[-1] >= "2019-11-30 23:"


def test_a_day_depends_only_on_the_seed_and_its_number(folder: Path) -> None:
    for day in (29, 3):
        single = generate_day(7, EVENTS, day)
        assert single.to_pandas().equals(pd.read_csv(folder / day_file(day), dtype=str, keep_default_na=False))
    assert not generate_day(8, EVENTS, 3).equals(single)


def test_an_existing_month_is_kept(spark: SparkSession, folder: Path) -> None:
    with pytest.raises(EventFileError, match=r"a month in .*month already: remove that folder"):
        write_full_month(spark, folder, 1_000, lambda *_: None)
    assert len(list(folder.parent.iterdir())) == 1


def test_users_products_and_sessions_are_like_those_of_the_real_files(month: pd.DataFrame) -> None:
    # In proportion to 67.5 million events of 3.7 million users on 190,000 products.
    assert EVENTS / 19 < month["user_id"].nunique() < EVENTS / 17.5
    assert EVENTS / 360 < month["product_id"].nunique() <= EVENTS / 355 + 1
    assert month.groupby("user_session")["user_id"].nunique().max() == 1
    assert 3 < len(month) / month["user_session"].nunique() < 6
    assert 0.12 < (month["brand"] == "").mean() < 0.18
    assert 0.31 < (month["category_code"] == "").mean() < 0.39
    per_user = month.groupby("user_id").size().sort_values()
    assert per_user.iloc[-len(per_user) // 10 :].sum() > 0.35 * EVENTS


def test_the_users_of_all_days_are_the_same_people(month: pd.DataFrame) -> None:
    day = month["event_time"].str[8:10]
    days_of_user = day.groupby(month["user_id"]).nunique()
    assert (days_of_user > 1).mean() > 0.5
    branded = month[month["brand"] != ""]
    regulars = branded[branded.groupby("user_id")["brand"].transform("size").between(40, 80)]
    top_five = regulars.groupby("user_id")["brand"].agg(lambda user: user.value_counts(normalize=True)[:5].sum())
    assert top_five.median() > 1.5 * branded["brand"].value_counts(normalize=True)[:5].sum()


def test_the_shop_of_the_full_month_has_thousands_of_brands_and_hundreds_of_categories() -> None:
    shop = make_catalogue(7, large_shop(67_500_000))
    assert len(set(shop.product_id)) == len(shop.product_id) == pytest.approx(190_000, abs=500)
    assert 3_900 < len(set(shop.brand)) <= 4_001
    assert 300 < len(set(shop.category_code)) < 500
    assert len(shop.planted) == 300


def test_planted_products_grow_at_the_end_of_the_month(month: pd.DataFrame) -> None:
    day = month["event_time"].str[8:10].astype(int)
    planted = month["product_id"].isin({str(number) for number in planted_product_ids(7, large_shop(EVENTS))})
    assert planted.sum() > 0
    share = planted.groupby(day).mean()
    assert share[[28, 29, 30]].mean() > 3 * share[[24, 25, 26, 27]].mean()
