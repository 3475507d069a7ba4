"""Metrics of the server and the pipeline, in the format of Prometheus."""

import time
from pathlib import Path

import httpx2
import pytest
from api_server import running_server
from fastapi.testclient import TestClient
from helpers import PATIENCE, NewSettings, send, shop_days, write_events
from prometheus_client.parser import text_string_to_metric_families
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.api.app import create_app
from lambda_spark.settings import Settings

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_of(text: str) -> Samples:
    """Parse the metrics as Prometheus does; fails if a name and its labels appear twice."""
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((f"lambda_spark_{name}", frozenset(labels.items())))


def test_requests_are_counted_by_route_and_status_with_their_latency(server: str) -> None:
    route = "/v1/users/{user_id}/brands"
    before = samples_of(httpx2.get(f"{server}/metrics").text)
    for user in ("5", "6", "x"):
        httpx2.get(f"{server}/v1/users/{user}/brands")
    httpx2.get(f"{server}/nothing")
    answer = httpx2.get(f"{server}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    after = samples_of(answer.text)

    def growth(name: str, **labels: str) -> float:
        return (value(after, name, **labels) or 0) - (value(before, name, **labels) or 0)

    assert growth("requests_total", route=route, status="404") == 2
    assert growth("requests_total", route=route, status="422") == 1
    assert growth("requests_total", route="none", status="404") == 1
    assert growth("request_seconds_count", route=route) == 3
    assert 0 < growth("request_seconds_sum", route=route) < 3
    assert growth("request_seconds_bucket", route=route, le="+Inf") == 3
    # Unknown paths and ids must not add series.
    assert not [
        labels for _, labels in after for name, label in labels if name == "route" and label.endswith("/x/brands")
    ]


def test_metrics_of_the_pipeline_equal_the_status(server: str) -> None:
    status = httpx2.get(f"{server}/v1/status").json()
    samples = samples_of(httpx2.get(f"{server}/metrics").text)
    for layer in ("batch", "speed"):
        assert value(samples, "received_messages_total", layer=layer) == status[layer]["received"] > 0
    assert value(samples, "stored_events_total") == status["batch"]["stored"] > 0
    for each in status["rejects"]:
        assert value(samples, "rejected_messages_total", reason=each["reason"]) == each["count"] > 0
    assert status["rejects"]
    assert value(samples, "stream_behind_messages") == status["speed"]["behind"] == 0
    assert value(samples, "stream_lag_seconds") == 0
    assert value(samples, "state_users") > 1_000  # type: ignore[operator]
    for view in ("batch_view_age_seconds", "realtime_view_age_seconds"):
        assert 0 < value(samples, view) < 3_600  # type: ignore[operator]


def test_metrics_show_the_messages_that_wait_for_the_stream(new_run: NewSettings) -> None:
    settings = new_run()
    send(settings.kafka, shop_days([1]))
    with running_server(settings) as url:
        end = time.monotonic() + PATIENCE
        while not value(samples := samples_of(httpx2.get(f"{url}/metrics").text), "stream_lag_seconds"):
            assert time.monotonic() < end
            time.sleep(0.1)
        assert value(samples, "stream_behind_messages") == len(shop_days([1]))
        # A view that does not exist has no age, rather than an age of 0.
        assert value(samples, "realtime_view_age_seconds") is None
        assert value(samples, "state_users") == 0


@pytest.fixture
def client(copied: Settings) -> TestClient:
    return TestClient(create_app(copied), base_url="http://localhost")


def test_a_scrape_reads_only_tables_that_have_changed(
    spark: SparkSession, copied: Settings, client: TestClient, tmp_path: Path
) -> None:
    before = samples_of(client.get("/metrics").text)
    rejected = list(Path(copied.data_root, "rejected_events").rglob("*.parquet"))
    kept = {file: file.read_bytes() for file in rejected}
    assert kept
    # Reading the table now fails.
    for file in rejected:
        file.unlink()
    again = samples_of(client.get("/metrics").text)
    assert value(again, "rejected_messages_total", reason="not_a_json_object") == 1
    for file, content in kept.items():
        file.write_bytes(content)
    events = shop_days([1])
    pipelines.ingest_files(spark, copied, [write_events(tmp_path / "events.csv", events)])
    after = samples_of(client.get("/metrics").text)
    assert value(after, "stored_events_total") == value(before, "stored_events_total") + len(events)  # type: ignore[operator]
    assert value(after, "batch_view_age_seconds") < value(before, "batch_view_age_seconds")  # type: ignore[operator]
