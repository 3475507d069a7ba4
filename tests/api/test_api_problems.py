"""A problem names the parameter, its value and the remedy, and contains no internals."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import httpx2
import pytest
from api_server import running_process, running_server
from helpers import PATIENCE, NewSettings, shop_days, write_events
from pyspark.sql import SparkSession

from lambda_spark import engine, pipelines
from lambda_spark.errors import TooSlowError
from lambda_spark.settings import Settings

USER, PRODUCT = "/v1/users/{user}", "/v1/products/{product}"
# Arabic digits are digits for Python's int(), too.
ARABIC_ONE = "\u0661"
INJECTION = "1' OR '1'='1'; DROP TABLE events; --"


def problem(answer: httpx2.Response, status: int, kind: str) -> dict[str, Any]:
    """Return the problem of an answer; fails if it is not a complete one of this kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"/problems/{kind}"
    assert found["status"] == status
    assert found["title"]
    assert found["detail"].endswith(".")
    assert "Traceback" not in answer.text
    assert len(answer.text) < 2_000
    return found


BAD_PARAMETERS = [
    # path, parameters, field, text of the remedy
    ("/v1/users/abc/brands", {}, "user_id", "digits"),
    ("/v1/users/1.0/brands", {}, "user_id", "digits"),
    ("/v1/users/1_0/brands", {}, "user_id", "digits"),
    (f"/v1/users/{ARABIC_ONE}/brands", {}, "user_id", "digits"),
    (f"/v1/users/{2**63}/recommendations", {}, "user_id", "digits"),
    (f"/v1/users/{'9' * 5_000}/recommendations", {}, "user_id", "digits"),
    (f"/v1/products/{-(2**63) - 1}", {}, "product_id", "digits"),
    (f"/v1/products/{quote(INJECTION, safe='')}", {}, "product_id", "digits"),
    ("/v1/users", {"limit": "101"}, "limit", "at most 100"),
    ("/v1/users", {"limit": "0"}, "limit", "at least 1"),
    (f"{USER}/recommendations", {"n": "51"}, "n", "at most 50"),
    (f"{USER}/recommendations", {"n": "many"}, "n", "whole number"),
    (f"{USER}/recommendations", {"n": "9" * 5_000}, "n", "whole number"),
    (f"{USER}/recommendations", {"fallback": "perhaps"}, "fallback", "true or false"),
    (f"{USER}/recommendations", {"as_of": "yesterday"}, "as_of", "Write 2019-11-01"),
    ("/v1/trends", {"top": "101"}, "top", "at most 100"),
    ("/v1/trends", {"rank_by": "luck"}, "rank_by", "'trend_score'"),
    ("/v1/trends", {"from": "2019-11-31", "to": "2019-12-01"}, "from", "Write 2019-11-01"),
    ("/v1/trends", {"from": "2019-11-01", "to": ""}, "to", "Write 2019-11-01"),
    ("/v1/trends", {"from": INJECTION, "to": "2019-12-01"}, "from", "Write 2019-11-01"),
    ("/v1/trends", {"from": "2019-11-01\x00", "to": "2019-12-01"}, "from", "Write 2019-11-01"),
    ("/v1/trends", {"from": "0001-01-01T00:00+05:00", "to": "2019-12-01"}, "from", "Write 2019-11-01"),
    ("/v1/trends", {"from": "2019-11-01", "to": "9999-12-31T23:59:59"}, "to", "from 1900 to 2199"),
    ("/v1/trends", {"from": "2" * 1_000, "to": "2019-12-01"}, "from", "at most 40 characters"),
    ("/v1/trends", {"bucket": "fortnight"}, "bucket", "Write day"),
    ("/v1/trends", {"bucket": "0 minutes"}, "bucket", "Write day"),
    ("/v1/trends", {"bucket": "25 hours"}, "bucket", "Write day"),
    ("/v1/trends", {"bucket": f"{'9' * 30} days"}, "bucket", "Write day"),
    (PRODUCT, {"bucket": INJECTION}, "bucket", "Write day"),
    # FastAPI would ignore an unknown parameter.
    ("/v1/trends", {"form": "2019-11-01", "to": "2019-11-08"}, "form", "Write from"),
    (PRODUCT, {"top": "3"}, "top", "to"),
    (f"{USER}/brands", {"fallback": "true"}, "fallback", "as_of"),
    ("/v1/status", {"verbose": "1"}, "verbose", "Leave it out"),
    ("/v1/live", {"since": "1"}, "since", "Leave it out"),
]


@pytest.mark.parametrize(("path", "parameters", "field", "remedy"), BAD_PARAMETERS)
def test_a_bad_parameter_is_named_with_its_value_and_the_remedy(
    server: str, ids: dict[str, str], path: str, parameters: dict[str, str], field: str, remedy: str
) -> None:
    found = problem(httpx2.get(f"{server}{path.format(**ids)}", params=parameters), 422, "bad-parameter")
    assert found["field"] == field
    value = parameters[field] if field in parameters else httpx2.URL(path).path.split("/")[3]
    assert found["value"] == value[:200]
    assert remedy in found["remedy"]


BAD_RANGES = [
    # parameters, field, text of the detail, text of the remedy
    ({"from": "2019-11-08"}, "to", "both from and to", "Name the other"),
    ({"to": "2019-11-08"}, "from", "both from and to", "Name the other"),
    ({"from": "2019-11-08", "to": "2019-11-01"}, "from, to", "is not before", "later to"),
    ({"from": "2019-11-08", "to": "2019-11-08"}, "from, to", "is not before", "later to"),
    ({"from": "2019-11-01", "to": "2019-11-03T12:00"}, "from, to", "no whole number", "[2019-11-01, 2019-11-03)"),
    ({"from": "2019-11-01", "to": "2019-11-02"}, "from, to", "single bucket", "finer bucket"),
    ({"from": "2018-01-01", "to": "2018-02-01"}, "from, to", "outside the data", "Ask within it"),
    ({"from": "2100-01-01", "to": "2100-02-01"}, "from, to", "outside the data", "Ask within it"),
    ({"from": "2000-01-01", "to": "2030-01-01"}, "from, to", "more than 2,016 buckets", "shorter range"),
    (
        {"from": "2019-11-01", "to": "2019-11-08", "bucket": "minute"},
        "from, to, bucket",
        "more than 2,016 buckets",
        "larger bucket",
    ),
    ({"bucket": "minute"}, "bucket", "more than 2,016 buckets", "larger bucket"),
]


@pytest.mark.parametrize("path", ["/v1/trends", PRODUCT])
@pytest.mark.parametrize(("parameters", "field", "detail", "remedy"), BAD_RANGES)
def test_a_bad_range_is_named_with_the_remedy(
    server: str, ids: dict[str, str], path: str, parameters: dict[str, str], field: str, detail: str, remedy: str
) -> None:
    found = problem(httpx2.get(f"{server}{path.format(**ids)}", params=parameters), 422, "bad-range")
    assert found["field"] == field
    assert found.get("value") == (", ".join(parameters.values()) if field in ", ".join(parameters) else None)
    assert detail in found["detail"]
    assert remedy in found["remedy"]


def test_a_moment_before_all_events_is_named(server: str, ids: dict[str, str]) -> None:
    path = f"{server}{USER.format(**ids)}/recommendations"
    found = problem(httpx2.get(path, params={"as_of": "1999-01-01"}), 422, "bad-range")
    assert (found["field"], found["value"]) == ("as_of", "1999-01-01")
    assert "later as_of" in found["remedy"]


@pytest.mark.parametrize("what", ["brands", "recommendations"])
@pytest.mark.parametrize("user_id", ["5", str(-(2**63)), str(2**63 - 1)])
def test_an_unknown_user_has_a_fallback_that_works(server: str, what: str, user_id: str) -> None:
    found = problem(httpx2.get(f"{server}/v1/users/{user_id}/{what}"), 404, "unknown-user")
    assert (found["field"], found["value"]) == ("user_id", user_id)
    assert "fallback=true" in found["remedy"]
    answer = httpx2.get(f"{server}{found['fallback']}")
    assert answer.status_code == 200
    rows = answer.json()["recommendations"]
    assert rows
    assert all(row["is_fallback"] for row in rows)


def test_an_unknown_product_is_named(server: str) -> None:
    found = problem(httpx2.get(f"{server}/v1/products/5"), 404, "unknown-product")
    assert (found["field"], found["value"]) == ("product_id", "5")
    assert found["remedy"]


def test_a_parameter_that_is_given_twice_is_rejected(server: str) -> None:
    found = problem(httpx2.get(f"{server}/v1/trends?top=3&top=4"), 422, "bad-parameter")
    assert found["field"] == "top"
    assert "once" in found["remedy"]


@pytest.mark.parametrize("path", ["/no", "/v1", "/v1/", "/v1/trends/", "/v1/users/1/2/3", "/docs", "/page/none.js"])
def test_an_unknown_route_is_a_problem(server: str, path: str) -> None:
    assert path in problem(httpx2.get(f"{server}{path}"), 404, "not-found")["detail"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"])
def test_another_method_is_rejected_and_the_allowed_one_named(server: str, method: str) -> None:
    answer = httpx2.request(method, f"{server}/v1/trends", content=b"{}" if method != "TRACE" else None)
    found = problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET"
    assert "GET" in found["remedy"]


# --- not ready


def test_without_events_it_says_what_to_run_until_they_are_ingested(
    spark: SparkSession, new_settings: NewSettings, tmp_path: Path
) -> None:
    settings = new_settings()
    with running_server(settings) as url:
        for path in ("/v1/trends", "/v1/users", "/v1/users/5/recommendations", "/v1/users/5/brands", "/v1/products/5"):
            answer = httpx2.get(f"{url}{path}")
            found = problem(answer, 503, "not-ready")
            assert "jobs/ingest_events.py" in found["remedy"]
            assert settings.data_root not in answer.text
        found = problem(httpx2.get(f"{url}/health/ready"), 503, "not-ready")
        assert len(found["causes"]) == 2
        assert all(cause["cause"] and cause["remedy"] for cause in found["causes"])
        assert httpx2.get(f"{url}/health/live").json() == {"status": "live"}
        status = httpx2.get(f"{url}/v1/status").json()
        assert status["batch"] == {"received": 0, "stored": 0, "rejected": 0, "upto": None, "committed_at": None}

        pipelines.ingest_files(spark, settings, [write_events(tmp_path / "events.csv", shop_days(range(1, 5)))])
        answer = wait_until(lambda: httpx2.get(f"{url}/v1/trends"), lambda answer: answer.status_code == 200)
        assert answer.json()["batch_upto"] == "2020-03-04T23:30:00Z"
        causes = problem(httpx2.get(f"{url}/health/ready"), 503, "not-ready")["causes"]
        assert [cause["remedy"] for cause in causes] == ["Run jobs/speed_stream.py or jobs/batch_brands.py."]

        pipelines.batch_brands(spark, settings)
        wait_until(lambda: httpx2.get(f"{url}/health/ready"), lambda answer: answer.status_code == 200)
        assert httpx2.get(f"{url}/v1/users/1/brands").status_code == 200


def wait_until(ask: Any, is_done: Any, seconds: float = PATIENCE) -> httpx2.Response:
    end = time.monotonic() + seconds
    while not is_done(answer := ask()):
        assert time.monotonic() < end, answer.text
        time.sleep(0.1)
    return answer  # type: ignore[no-any-return]


# --- too slow


def test_an_answer_that_takes_too_long_is_cancelled_and_the_next_request_is_answered(reference: Settings) -> None:
    with running_server(reference, LAMBDA_SERVE__DEADLINE_SECONDS="0.001") as url:
        for _ in range(3):
            found = problem(httpx2.get(f"{url}/v1/trends?bucket=hour"), 503, "too-slow")
            assert "shorter range" in found["remedy"]
        user = httpx2.get(f"{url}/v1/users").json()["users"][0]["user_id"]
        assert httpx2.get(f"{url}/v1/users/{user}/recommendations").status_code == 200


@pytest.mark.parametrize("seconds", [0.0, 1e-6, 0.2])
def test_a_query_that_takes_too_long_is_interrupted(seconds: float) -> None:
    connection = engine.connect().cursor()
    begin = time.monotonic()
    with pytest.raises(TooSlowError, match=f"more than {seconds:g} s"), engine.time_limit(seconds):
        engine.run_sql(
            connection, "SELECT count(*) FROM range(10_000_000) a, range(10_000_000) b WHERE a.range % 7 = 3"
        )
    assert time.monotonic() - begin < seconds + PATIENCE
    assert engine.run_sql(connection, "SELECT 1 AS one")["one"].to_pylist() == [1]


def test_duckdb_ignores_an_interruption_before_the_query() -> None:
    # This is why engine interrupts a query until it has ended.
    connection = duckdb.connect()
    connection.interrupt()
    assert connection.execute("SELECT 1").fetchone() == (1,)


# --- unexpected errors


def test_an_unexpected_error_is_only_in_the_log(copied: Settings) -> None:
    with running_process(copied) as server:
        for file in Path(copied.data_root, "events").rglob("*.parquet"):
            file.unlink()
        answer = httpx2.get(f"{server.url}/v1/trends?bucket=6%20hours")
        found = problem(answer, 500, "fault")
        assert copied.data_root not in answer.text
        assert found == {
            "type": "/problems/fault",
            "title": "Fault",
            "status": 500,
            "detail": "The server could not answer.",
            "remedy": "Its log says why.",
        }
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "GET '/v1/trends' failed." in server.output()
        assert server.output().count("Traceback") == 1
        assert httpx2.get(f"{server.url}/health/live").status_code == 200
        assert httpx2.get(f"{server.url}/v1/users").json()["users"]
