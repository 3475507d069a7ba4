"""The evaluation of trends: weeks are drawn as planned, the batch layer counts the same, and the figures are right."""

import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from helpers import NewSettings
from pyspark.sql import SparkSession

from lambda_spark.batch.bucket_counts import bucket_counts, count_here, open_counts
from lambda_spark.evaluation.planted import (
    DAYS,
    SMALL,
    WEEK,
    Condition,
    PlantedWeek,
    Shop,
    count_visits,
    draw_week,
    product_kinds,
)
from lambda_spark.evaluation.trend_quality import (
    PlannedWeek,
    conditions,
    evaluate,
    rankings,
    report_weeks,
    score,
    tuning_weeks,
    variants,
    with_spread,
)
from lambda_spark.evaluation.trend_report import print_report, print_tuning, write_json
from lambda_spark.local.synthetic import write_events
from lambda_spark.pipelines import ingest_files
from lambda_spark.report.console import make_console
from lambda_spark.schemas import EVENT_COLUMNS
from lambda_spark.settings import load_settings
from lambda_spark.time_ranges import DAY
from lambda_spark.trends.score import trend_rule, trends
from lambda_spark.trends.windows import columns_read

TINY = Shop("tiny", 3_000, 2_000, 800)
PLAIN = Condition(3.0, "sudden", 0.0, has_spam=False, has_sale=False)
ALL_TRAPS = Condition(3.0, "slow", 0.1, has_spam=True, has_sale=True)
RULE = trend_rule(load_settings().trends)


def by_day(week: PlantedWeek, kind: str, of: str = "events") -> list[float]:
    """Return the events, or the users, of the products of a kind by day."""
    is_of_kind = np.isin(week.visits.product, week.planted[kind])
    weights = week.visits.events[is_of_kind] if of == "events" else None
    return list(np.bincount(week.visits.day[is_of_kind], weights, DAYS))


def shop_by_day(week: PlantedWeek) -> list[float]:
    return list(np.bincount(week.visits.day, week.visits.events, DAYS))


# --- drawn weeks


def test_the_same_arguments_give_the_same_week_and_another_seed_another() -> None:
    first, again, other = (count_visits(draw_week(TINY, ALL_TRAPS, seed)) for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize("growth", [1.5, 3.0])
@pytest.mark.parametrize("shape", ["sudden", "slow"])
def test_planted_products_grow_as_planned(growth: float, shape: str) -> None:
    week = draw_week(SMALL, PLAIN._replace(growth=growth, shape=shape), 1)
    planted = np.array(by_day(week, "trend"))
    share = planted / (shop_by_day(week) - planted)  # of all others
    assert share[-1] / share[:2].mean() == pytest.approx(growth, rel=0.15)
    # By the third and fourth day a slow trend has grown 1/5 and 2/5 of its growth; a third of the sudden ones begin.
    part = 0.3 if shape == "slow" else 1 / 6
    assert share[2:4].mean() / share[:2].mean() == pytest.approx(1 + part * (growth - 1), rel=0.15)


def test_a_sale_lifts_the_whole_shop_on_its_days() -> None:
    without, with_sale = (shop_by_day(draw_week(SMALL, PLAIN._replace(has_sale=sale), 1)) for sale in (False, True))
    assert np.array(with_sale) / without == pytest.approx([1] * 5 + [1.8] * 2, rel=0.1)


@pytest.mark.parametrize("dispersion", [0.0, 0.15])
def test_visits_are_as_dispersed_as_planned(dispersion: float) -> None:
    week = draw_week(SMALL._replace(users=10**9), PLAIN._replace(dispersion=dispersion), 1)
    popular = np.setdiff1d(np.arange(150), np.concatenate(list(week.planted.values())))
    visits = np.zeros((DAYS, SMALL.products))
    np.add.at(visits, (week.visits.day, week.visits.product), 1)
    adjusted = visits / visits.sum(axis=1, keepdims=True) * visits.sum() / DAYS
    mean, variance = adjusted[:, popular].mean(axis=0), adjusted[:, popular].var(axis=0, ddof=1)
    assert ((variance - mean) / mean**2).mean() == pytest.approx(dispersion, abs=0.03)


def test_spam_is_hundreds_of_events_of_one_user_each() -> None:
    week = draw_week(SMALL, ALL_TRAPS, 1)
    is_spam = week.visits.user >= SMALL.users
    by_user = pd.Series(week.visits.events[is_spam]).groupby(week.visits.user[is_spam]).sum()
    assert by_user.between(200, 800).all()
    spammed = pd.Series(week.visits.product[is_spam]).groupby(week.visits.user[is_spam]).nunique()
    assert set(spammed) == {1}
    assert set(week.visits.product[is_spam]) == set(week.planted["spam"])
    assert Counter(product_kinds(week).values()) == {"trend": 20, "spam": 40, "decoy": 8, "rhythm": 60}


def test_decoys_go_from_one_event_a_day_to_thirty_of_many_users() -> None:
    week = draw_week(SMALL, PLAIN, 1)
    events, users = (np.array(by_day(week, "decoy", of)) / 8 for of in ("events", "users"))
    assert events[:-1].mean() == pytest.approx(1, abs=0.6)
    assert events[-1] == pytest.approx(30 * 1.12, rel=0.3)
    assert users[-1] > 15


def as_events(week: PlantedWeek) -> pa.Table:
    """Return the views of a week as the texts of an event file."""
    visits, catalogue = week.visits, week.catalogue
    each = np.repeat(np.arange(len(visits.day)), visits.events)
    seconds = visits.day[each] * 86_400 + np.arange(len(each)) % 86_400
    at = np.datetime64(WEEK.start.replace(tzinfo=None), "s") + seconds
    texts = {
        "event_time": [f"{text.replace('T', ' ')} UTC" for text in np.datetime_as_string(at)],
        "event_type": np.full(len(each), "view"),
        **{n: getattr(catalogue, n)[visits.product[each]] for n in ("product_id", "category_code", "brand")},
        "user_id": visits.user[each].astype(str),
    }
    return pa.table({name: pa.array(texts.get(name, np.full(len(each), "")), pa.string()) for name in EVENT_COLUMNS})


def test_a_week_as_events_through_the_batch_layer_gives_the_same_trends(
    spark: SparkSession, new_settings: NewSettings, tmp_path: Path
) -> None:
    week, settings = draw_week(TINY, ALL_TRAPS, 1), new_settings()
    write_events(tmp_path / "week.csv", as_events(week))
    ingest_files(spark, settings, [tmp_path / "week.csv"])
    root = settings.data_root
    computed = bucket_counts(count_here, root, open_counts(root), WEEK, DAY, columns_read(RULE.weights))
    from_events, from_counts = (
        trends(activity, WEEK, DAY, "day", RULE).to_pylist() for activity in (computed, count_visits(week))
    )
    assert from_events == from_counts
    assert len(from_counts) > 50


# --- scores


def test_precision_and_recall_by_hand() -> None:
    kinds = {**dict.fromkeys(range(40), "trend"), 50: "spam", 51: "decoy"}
    figures = score([*range(10), 50, 51, 99, *range(10, 20)], kinds)
    # 17 of the first 20 are trends, then three more; 77 places stay empty.
    assert figures["precision_at_20"] == 17 / 20
    assert figures["recall_at_20"] == 17 / 40
    assert figures["precision_at_100"] == 20 / 100
    assert figures["recall_at_100"] == 20 / 40
    assert figures["found_at_20"] == {"trend": 17, "spam": 1, "decoy": 1, "rhythm": 0, "none": 1}
    assert figures["planted"] == {"trend": 40, "spam": 1, "decoy": 1, "rhythm": 0}


def test_all_values_of_a_condition_are_equally_frequent_and_part_of_the_tuning() -> None:
    planned = pd.DataFrame(conditions())
    for name in planned.columns:
        assert planned[name].value_counts().nunique() == 1
    assert len(planned.drop_duplicates()) == 24
    for weeks in (tuning_weeks(), report_weeks()):
        for shop in ("small", "large"):
            seen = pd.DataFrame([week.condition for week in weeks if week.shop.name == shop])
            assert (seen.nunique() == planned.nunique()).all()


def test_tuning_and_report_use_different_seeds() -> None:
    assert not {week.seed for week in tuning_weeks()} & {week.seed for week in report_weeks()}


def test_the_spread_is_half_the_range_of_the_seeds() -> None:
    rows = pd.DataFrame({"ranking": "r", "seed": [1, 1, 2, 2], "precision_at_20": [0.2, 0.4, 0.6, 0.8]})
    rows = rows.assign(recall_at_20=0.0, precision_at_100=0.0, recall_at_100=0.0)
    (found,) = with_spread(rows, ["ranking"]).to_dict("records")
    assert found["precision_at_20"] == pytest.approx(0.5)
    assert found["precision_at_20_spread"] == pytest.approx(0.2)


@pytest.fixture(scope="module")
def judged() -> pd.DataFrame:
    """Return the scores of rankings on weeks of neither the tuning nor the report."""
    weeks = [PlannedWeek(SMALL, seed, each) for seed in (101, 102) for each in conditions()[::5]]
    return evaluate(weeks, rankings(RULE), lambda *_: None)


def test_the_default_finds_most_trends_and_no_spam(judged: pd.DataFrame) -> None:
    means = judged.groupby("ranking")[["precision_at_20", "recall_at_100"]].mean()
    assert (means.loc["score, users"] >= means.drop("z, users").max() - 1e-9).all()
    found = judged[judged["ranking"] == "score, users"]
    assert all(row["spam"] == 0 for row in found["found_at_100"])
    by_events = judged[(judged["ranking"] == "score, events") & judged["has_spam"]]
    assert all(row["spam"] == 20 for row in by_events["found_at_20"])


def test_the_default_is_the_rule_of_the_settings() -> None:
    week = draw_week(SMALL, ALL_TRAPS, 1)
    activity = count_visits(week)
    of_settings = trends(activity, WEEK, DAY, "day", RULE)["product_id"][:100].to_pylist()
    assert rankings(RULE)["score, users"](activity) == variants(RULE)["default"](activity) == of_settings


def test_the_tables_show_every_ranking_and_condition(judged: pd.DataFrame) -> None:
    stream = io.StringIO()
    print_tuning(make_console(stream), judged)
    print_report(make_console(stream), judged)
    text = stream.getvalue()
    assert "Report: small shop, 10 weeks, seeds 101 to 102, 20 planted trends in each" in text
    for shown in (*rankings(RULE), "growth 1.5", "slow", "dispersion 0.15", "spam: yes", "sale: no", "±"):
        assert shown in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_file_has_the_means_over_the_weeks(judged: pd.DataFrame, tmp_path: Path) -> None:
    write_json(tmp_path / "out" / "trends.json", judged)
    written = json.loads((tmp_path / "out" / "trends.json").read_text())
    assert written.keys() == {"small"}
    assert (written["small"]["weeks"], written["small"]["seeds"]) == (10, [101, 102])
    spam_weeks = judged[judged["ranking"] == "events"]["has_spam"].mean()
    assert written["small"]["planted"] == {"trend": 20, "spam": 40 * spam_weeks, "decoy": 8, "rhythm": 60}
    assert written["small"]["rankings"].keys() == rankings(RULE).keys()
    for ranking, figures in written["small"]["rankings"].items():
        rows = judged[judged["ranking"] == ranking]
        assert figures["precision_at_20"][0] == pytest.approx(rows["precision_at_20"].mean(), abs=1e-4)
        assert figures["found_at_100"]["trend"] == pytest.approx(20 * figures["recall_at_100"][0], abs=1e-2)
