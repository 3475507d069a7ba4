"""The generated month: the same for the same seed, shaped like the real files, with detectable planted trends."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from lambda_spark.events.event_files import read_records
from lambda_spark.local.synthetic import generate_month, planted_product_ids, write_month
from lambda_spark.schemas import EVENT_COLUMNS


@pytest.fixture(scope="module")
def month() -> pd.DataFrame:
    events = generate_month().to_pandas()
    events["at"] = pd.to_datetime(events["event_time"], format="%Y-%m-%d %H:%M:%S UTC")
    return events


def test_the_same_seed_writes_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in [("one", 7), ("same", 7), ("other", 8)]:
        write_month(tmp_path / "folder" / name, seed, events=5_000)
    one, same, other = (hashlib.sha256((tmp_path / "folder" / name).read_bytes()) for name in ("one", "same", "other"))
    assert one.digest() == same.digest() != other.digest()
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["one", "other", "same"]


def test_the_file_is_an_event_file_with_the_generated_events(tmp_path: Path) -> None:
    write_month(tmp_path / "month.csv", events=2_000)
    expected = [[row[name] for name in EVENT_COLUMNS] for row in generate_month(events=2_000).to_pylist()]
    assert [record.fields for record in read_records(tmp_path / "month.csv")] == expected


def test_the_default_month_is_unchanged(tmp_path: Path) -> None:
    # README shows results of this month.
    write_month(tmp_path / "month.csv")
    assert hashlib.sha256((tmp_path / "month.csv").read_bytes()).hexdigest().startswith("085d7a97f3723fea")


@pytest.mark.parametrize("events", [50, 999, 10_000])
def test_a_month_of_any_size_has_that_many_events_and_a_complete_last_day(events: int) -> None:
    times = generate_month(events=events, users=40, products=60)["event_time"].to_pylist()
    assert len(times) == events
    assert times == sorted(times)
    assert times[0] >= "2019-11-01"
    assert "2019-11-30 23:" <= times[-1] <= "2019-11-30 23:59:59 UTC"


def test_shares_are_those_of_the_real_files(month: pd.DataFrame) -> None:
    assert len(month) == 300_000
    shares = month["event_type"].value_counts(normalize=True)
    assert shares.round(3).to_dict() == {"view": 0.95, "cart": 0.03, "purchase": 0.017, "remove_from_cart": 0.003}
    assert 0.12 < (month["brand"] == "").mean() < 0.18
    assert 0.31 < (month["category_code"] == "").mean() < 0.39
    assert 15_000 < month["user_id"].nunique() <= 20_000
    assert 2_900 < month["product_id"].nunique() <= 3_000
    assert 180 < month.loc[month["brand"] != "", "brand"].nunique() <= 200
    assert month["category_id"].str.fullmatch(r"\d{19}").all()
    assert month["price"].str.fullmatch(r"\d+\.\d\d").all()


def test_a_product_keeps_its_brand_and_category_while_its_price_moves_a_little(month: pd.DataFrame) -> None:
    by_product = month.assign(price=month["price"].astype(float)).groupby("product_id")
    assert (by_product[["brand", "category_id", "category_code"]].nunique() == 1).all(axis=None)
    assert (by_product["price"].max() <= 1.12 * by_product["price"].min() + 0.01).all()
    assert (by_product["price"].nunique() > 1).mean() > 0.3


def test_carts_and_purchases_follow_a_view_of_the_product_in_the_same_session(month: pd.DataFrame) -> None:
    seen = ["user_session", "user_id", "product_id"]
    views = month[month["event_type"] == "view"].groupby(seen)["at"].min().rename("viewed_at")
    others = month[month["event_type"] != "view"].join(views, on=seen)
    assert (others["viewed_at"] <= others["at"]).all()


def test_users_exchange_favourite_brands_only_with_drift() -> None:
    def kept_brands(drift: float) -> float:
        """Return the mean share of a user's views in the last week that are of brands viewed in the first."""
        events = generate_month(3, events=60_000, users=500, drift=drift).to_pandas()
        known = events[(events["brand"] != "") & (events["event_time"] < "2019-11-08")]
        late = events[(events["brand"] != "") & (events["event_time"] >= "2019-11-24")]
        pairs = known.groupby(["user_id", "brand"]).size()
        favoured = pairs[pairs >= 3].index
        return float(pd.MultiIndex.from_frame(late[["user_id", "brand"]]).isin(favoured).mean())

    assert generate_month(3, events=2_000, drift=0.0) == generate_month(3, events=2_000)
    assert kept_brands(0.0) > 1.3 * kept_brands(0.5)


def test_users_are_loyal_to_few_brands_but_some_view_more_than_fifty(month: pd.DataFrame) -> None:
    branded = month[month["brand"] != ""]
    brands = branded.groupby("user_id")["brand"].nunique()
    assert 20 <= (brands > 50).sum() <= 200
    regulars = branded[branded.groupby("user_id")["brand"].transform("size").between(40, 80)]
    top_five = regulars.groupby("user_id")["brand"].agg(lambda user: user.value_counts(normalize=True)[:5].sum())
    everybody = branded["brand"].value_counts(normalize=True)[:5].sum()
    assert top_five.median() > 1.5 * everybody


def test_the_planted_products_grow_and_a_raw_percentage_is_fooled(month: pd.DataFrame) -> None:
    planted = {str(product_id) for product_id in planted_product_ids()}
    assert len(planted) == 20
    day = month["at"].dt.day
    daily = month[day >= 24].groupby(["product_id", day]).size().unstack(fill_value=0)
    early, late = daily[[24, 25, 26, 27]].mean(axis=1), daily[[28, 29, 30]].mean(axis=1)
    assert (late / early)[list(planted)].between(3, 8).all()
    assert daily.loc[list(planted)].sum(axis=1).min() > 150
    grown = daily[daily[24] > 0]
    by_percentage = ((grown[30] - grown[24]) / grown[24]).nlargest(20)
    assert len(set(by_percentage.index) & planted) < 15
    assert by_percentage.index[0] not in planted


def test_the_shop_as_a_whole_rises_on_the_last_weekend(month: pd.DataFrame) -> None:
    daily = month.groupby(month["at"].dt.day).size()
    assert 1.2 < daily[[29, 30]].mean() / daily[[22, 23]].mean() < 1.5
    by_hour = month.groupby(month["at"].dt.hour).size()
    assert by_hour[19] > 5 * by_hour[3]
