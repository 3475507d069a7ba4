"""The API returns the same rows as the jobs, whichever layer they come from."""

import random
import shutil
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from deltalake import DeltaTable
from fastapi.testclient import TestClient
from helpers import NewSettings, event, send, shop_days
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.api.app import create_app
from lambda_spark.api.routes.users import recommendation_rows
from lambda_spark.api.view_cache import ViewCache
from lambda_spark.batch.bucket_counts import open_counts, spark_counter
from lambda_spark.batch.trends import compute_trends
from lambda_spark.delta.parquet_files import as_map_in_arrow
from lambda_spark.schemas import RECOMMENDATIONS
from lambda_spark.serving import recommender
from lambda_spark.serving.snapshot import open_snapshot
from lambda_spark.settings import Settings
from lambda_spark.time_ranges import TimeRange, parse_instant

UTC = timezone.utc
# After all events, so that everything that is known now counts.
LATER = datetime(2100, 1, 1, tzinfo=UTC)
RULES = {"trends": {"min_events": 3, "smoothing": 1.0}, "recommendations": {"per_brand": 2}}

NAMES = ("rank", "product_id", "brand_position", "trend_rank")
Rows = list[tuple[Any, ...]]


def recommended_by_job(
    spark: SparkSession, settings: Settings, as_of: datetime, time_range: TimeRange | None = None
) -> dict[int, Rows]:
    """Return what jobs/recommend.py stores, as (rank, product, brand position, trend rank), by user."""
    snapshot = open_snapshot(settings.data_root)
    query = recommender.plan_query(settings, snapshot, time_range, as_of, ())
    plan = recommender.plan_recommendations(spark, settings, query, snapshot)
    found: dict[int, Rows] = {}
    rows = plan.brands.mapInArrow(as_map_in_arrow(plan.build_rows), RECOMMENDATIONS)
    for row in rows.orderBy("user_id", "rank").collect():
        values = (row.rank, str(row.product_id), row.brand_position, row.trend_rank)
        found.setdefault(row.user_id, []).append(values)
    return found


def recommended_by_api(client: TestClient, user_id: int, **parameters: str) -> Rows:
    """Return the answer to a request, as (rank, product, brand position, trend rank)."""
    answer = client.get(f"/v1/users/{user_id}/recommendations", params=parameters)
    assert answer.status_code == 200, answer.text
    return [tuple(row[name] for name in NAMES) for row in answer.json()["recommendations"]]


def new_client(settings: Settings) -> TestClient:
    return TestClient(create_app(settings), base_url="http://localhost")


def views_of(client: TestClient) -> ViewCache:
    views: ViewCache = client.app.state.views  # type: ignore[attr-defined]
    return views


def catch_up(client: TestClient) -> None:
    """Read what has changed, as the server's threads do."""
    views_of(client).follow()
    views_of(client).refresh()


# --- a finished run


@pytest.fixture(scope="module")
def shop(reference: Settings, new_settings: NewSettings) -> Settings:
    """Return the settings of a copy of the finished run without its trends, with a rule that ranks many products."""
    settings = new_settings(kafka=reference.kafka.model_dump(), **RULES)
    for name in ("events", "product_activity", "user_brands", "recent_brands"):
        shutil.copytree(f"{reference.data_root}/{name}", f"{settings.data_root}/{name}")
    return settings


@pytest.fixture(scope="module")
def finished(shop: Settings) -> TestClient:
    return new_client(shop)


def test_the_api_recommends_the_same_as_the_job_to_thousands_of_users(
    spark: SparkSession, shop: Settings, finished: TestClient
) -> None:
    expected, views = recommended_by_job(spark, shop, LATER), views_of(finished)
    window, count = views.default_window, shop.recommendations.per_user
    users = views.users.recent_users(10_000)
    assert len(users) > 2_000
    assert sum(map(len, expected.values())) > 5_000
    found = {
        user: [
            tuple(row[name] for name in NAMES) for row in recommendation_rows(views, window, user, brands, count, False)
        ]
        for user in users
        if (brands := views.users.find(user))
    }
    assert {user: rows for user, rows in found.items() if rows} == expected
    some = random.Random(3).sample(users, 50)
    assert [recommended_by_api(finished, user) for user in some] == [expected.get(user, []) for user in some]


def test_omitted_parameters_are_the_same_as_their_defaults(finished: TestClient) -> None:
    views = views_of(finished)
    for user in views.users.recent_users(20):
        path, count = f"/v1/users/{user}/recommendations", views.settings.recommendations.per_user
        assert finished.get(path).json() == finished.get(path, params={"n": count, "fallback": False}).json()


@pytest.mark.parametrize("user", ["x", "1.0", "٣", "-", "9" * 19, "1" * 400])
def test_an_invalid_id_is_rejected_with_and_without_parameters(finished: TestClient, user: str) -> None:
    for query in ("", "?n=3"):
        answer = finished.get(f"/v1/users/{user}/recommendations{query}")
        assert (answer.status_code, answer.json()["field"]) == (422, "user_id")


@pytest.mark.parametrize("as_of", [None, datetime(2019, 11, 19, 11, 30, tzinfo=UTC)])
def test_a_range_is_answered_as_of_its_end_or_of_as_of(
    spark: SparkSession, shop: Settings, finished: TestClient, as_of: datetime | None
) -> None:
    time_range = TimeRange(datetime(2019, 11, 13, tzinfo=UTC), datetime(2019, 11, 20, tzinfo=UTC))
    some = random.Random(4).sample(views_of(finished).users.recent_users(10_000), 400)
    expected = recommended_by_job(spark, shop, as_of or time_range.end, time_range)
    users = [user for user in some if user in expected][:40]
    moment = {"as_of": as_of.isoformat()} if as_of else {}
    for user in users:
        assert (
            recommended_by_api(finished, user, **{"from": "2019-11-13", "to": "2019-11-20"}, **moment) == expected[user]
        )


@pytest.mark.parametrize(
    ("start", "end", "bucket"),
    [
        ("2019-11-20", "2019-11-27", "day"),
        ("2019-11-20T12:00:00", "2019-11-22", "hour"),
        ("2019-11-29", "2019-12-04", "day"),
    ],
)
def test_trends_of_any_range_equal_those_of_the_batch_layer(
    spark: SparkSession, shop: Settings, finished: TestClient, start: str, end: str, bucket: str
) -> None:
    answer = finished.get("/v1/trends", params={"from": start, "to": end, "bucket": bucket, "top": "100"}).json()
    window = TimeRange(parse_instant(start), parse_instant(end))
    rule = shop.trends.model_copy(update={"top": 100})
    rows = compute_trends(
        spark_counter(spark), shop.data_root, rule, [window], bucket, open_counts(shop.data_root)
    ).to_pylist()
    assert rows
    assert [trend["product_id"] for trend in answer["trends"]] == [str(row["product_id"]) for row in rows]
    for trend, row in zip(answer["trends"], rows, strict=True):
        assert trend["buckets"] == [each["event_count"] for each in row["buckets"]]
        for name in ("rank", "brand", "event_count", "user_count", "total_pct_increase", "is_new", "confidence"):
            assert trend[name] == row[name]
        assert trend["trend_score"] == pytest.approx(row["trend_score"], nan_ok=True)
    assert [parse_instant(at) for at in answer["bucket_starts"]] == [each["bucket_at"] for each in rows[0]["buckets"]]
    assert bool(answer["notes"]) == (end == "2019-12-04")


def test_rank_by_changes_the_order(finished: TestClient) -> None:
    ranked = {
        rule: [trend[rule] for trend in finished.get("/v1/trends", params={"rank_by": rule}).json()["trends"]]
        for rule in ("trend_score", "total_pct_increase")
    }
    for values in ranked.values():
        present = [value for value in values if value is not None]
        assert present == sorted(present, reverse=True)
    by_events = finished.get("/v1/trends", params={"rank_by": "events", "top": "5"}).json()["trends"]
    assert [trend["event_count"] for trend in by_events] == sorted((t["event_count"] for t in by_events), reverse=True)
    assert len(by_events) == 5


@pytest.mark.parametrize("bucket", ["day", "6 hours"])
def test_a_product_has_its_counts_and_the_shop_s_per_bucket(shop: Settings, finished: TestClient, bucket: str) -> None:
    product_id = finished.get("/v1/trends", params={"top": "1"}).json()["trends"][0]["product_id"]
    parameters = {"from": "2019-11-24", "to": "2019-12-01", "bucket": bucket}
    answer = finished.get(f"/v1/products/{product_id}", params=parameters).json()
    events = DeltaTable(f"{shop.data_root}/events").to_pyarrow_table().to_pylist()
    size = timedelta(days=1) if bucket == "day" else timedelta(hours=6)
    first = datetime(2019, 11, 24, tzinfo=UTC)
    shop_counts, views, users = Counter(), Counter(), set()
    for row in events:
        bucket_index = (row["event_time"] - first) // size
        if row["event_time"] >= first:
            shop_counts[bucket_index] += 1
            if str(row["product_id"]) == product_id:
                views[bucket_index] += row["event_type"] == "view"
                users.add((bucket_index, row["user_id"]))
    indices = range(len(answer["bucket_starts"]))
    assert answer["shop"] == [shop_counts[index] for index in indices]
    assert [counts["view_count"] for counts in answer["buckets"]] == [views[index] for index in indices]
    assert sum(counts["user_count"] for counts in answer["buckets"]) == len(users)


# --- a running pipeline


@pytest.fixture
def running(spark: SparkSession, new_run: NewSettings) -> tuple[Settings, TestClient]:
    """Return the settings of a shop whose first four days are in both layers, and a client of its API."""
    settings = new_run(**RULES)
    send(settings.kafka, shop_days(range(1, 5)))
    pipelines.ingest_topic(spark, settings, available_now=True)
    pipelines.speed_stream(spark, settings, available_now=True)
    return settings, new_client(settings)


def test_events_of_the_speed_layer_are_in_the_next_answer_as_in_the_job_s(
    spark: SparkSession, running: tuple[Settings, TestClient]
) -> None:
    settings, client = running
    before = recommended_by_job(spark, settings, LATER)
    assert {user: recommended_by_api(client, user) for user in range(1, 6)} == before
    # User 1 buys the first product and views a new brand, user 9 is new; all after the days of the window.
    first = next(row for row in before[1])
    send(
        settings.kafka,
        [
            event("2020-03-04 23:59:00", 1, int(first[1]), event_type="purchase"),
            event("2020-03-05 00:10:00", 1, 77, brand="neu"),
            event("2020-03-05 00:20:00", 9, 1),
        ],
    )
    pipelines.speed_stream(spark, settings, available_now=True)
    catch_up(client)
    assert client.get("/v1/users/1/brands").json()["brands"][0] == {
        "position": 1,
        "brand": "neu",
        "last_seen_at": "2020-03-05T00:10:00Z",
    }
    assert {user: recommended_by_api(client, user) for user in (1, 2, 3, 4, 5, 9)} == recommended_by_job(
        spark, settings, LATER
    )
    # The purchase counts once ingest has stored it.
    pipelines.ingest_topic(spark, settings, available_now=True)
    catch_up(client)
    now = recommended_by_job(spark, settings, LATER)
    assert {user: recommended_by_api(client, user) for user in (1, 2, 3, 4, 5, 9)} == now
    assert first[1] not in [row[1] for row in now[1]]
    assert now[9]


def test_a_purchase_is_excluded_once_ingest_has_stored_it(
    spark: SparkSession, running: tuple[Settings, TestClient]
) -> None:
    settings, client = running
    answer, status = client.get("/v1/users/1/recommendations").json(), client.get("/v1/status").json()
    assert answer["batch_upto"] == answer["speed_upto"] == "2020-03-04T23:30:00Z"
    assert status["batch"]["received"] == status["batch"]["stored"] == status["speed"]["received"] > 0
    bought = recommended_by_api(client, 1)[0][1]
    send(settings.kafka, [event("2020-03-04 23:59:00", 1, int(bought), event_type="purchase")])
    pipelines.ingest_topic(spark, settings, available_now=True)
    catch_up(client)
    assert bought not in [row[1] for row in recommended_by_api(client, 1)]
    assert recommended_by_api(client, 2)


@pytest.mark.slow
def test_new_batch_views_and_a_recreated_realtime_view_are_loaded(
    spark: SparkSession, running: tuple[Settings, TestClient]
) -> None:
    settings, client = running
    lists = {user: client.get(f"/v1/users/{user}/brands").json()["brands"] for user in range(1, 6)}
    pipelines.batch_trends(spark, settings)
    pipelines.batch_brands(spark, settings)
    send(settings.kafka, [event("2020-03-05 00:10:00", 1, 77, brand="neu")])
    # Drops what the batch views cover.
    pipelines.speed_stream(spark, settings, available_now=True)
    catch_up(client)
    now = {user: client.get(f"/v1/users/{user}/brands").json()["brands"] for user in range(1, 6)}
    assert [each["brand"] for each in now[1]] == ["neu", *(each["brand"] for each in lists[1])]
    assert {user: now[user] for user in range(2, 6)} == {user: lists[user] for user in range(2, 6)}
    shutil.rmtree(f"{settings.data_root}/recent_brands")
    pipelines.speed_stream(spark, settings, available_now=True)
    catch_up(client)
    assert {user: client.get(f"/v1/users/{user}/brands").json()["brands"] for user in range(1, 6)} == now
    assert {user: recommended_by_api(client, user) for user in range(1, 6)} == recommended_by_job(
        spark, settings, LATER
    )
