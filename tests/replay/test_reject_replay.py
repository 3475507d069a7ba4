"""Messages that an earlier rule rejected and the present one accepts are sent again, once, also after a crash."""

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from deltalake import DeltaTable
from helpers import NewSettings, contents, environment_of, event, run_job, send
from pyspark.sql import SparkSession

from lambda_spark import pipelines
from lambda_spark.delta.event_log import master_dataset_counts
from lambda_spark.delta.storage import exclusive_lock
from lambda_spark.delta.tables import EVENTS, REJECTED_EVENTS, path_of
from lambda_spark.errors import LambdaSparkError, NotComputedError
from lambda_spark.kafka.client import message_count
from lambda_spark.replay import reject_replay
from lambda_spark.replay.reject_replay import RejectCounts, replay_rejects
from lambda_spark.settings import PROJECT_ROOT, KafkaSettings, Settings

pytestmark = pytest.mark.fault("a rule that rejected too much was fixed")

JOB = str(PROJECT_ROOT / "jobs" / "replay_rejects.py")
GOOD = [event(f"2020-03-01 12:00:0{number}", number, 1) for number in range(5)]


@pytest.fixture
def run(spark: SparkSession, new_run: NewSettings) -> Settings:
    """Return the settings of five stored events and five rejects, three of which the present rule accepts."""
    settings = new_run(partitions=2)
    send(settings.kafka, [*GOOD, *[f"no event {number}".encode() for number in range(5)]])
    pipelines.ingest_topic(spark, settings, available_now=True)
    # Rejects as an earlier rule would have written them.
    log = DeltaTable(path_of(settings.data_root, REJECTED_EVENTS))
    log.alter.set_table_properties({"delta.appendOnly": "false"})
    for number in range(3):
        value = json.dumps(event("2020-03-02 12:00:00", 7, number)).replace("'", "''")
        log.update(predicate=f"value = 'no event {number}'", updates={"value": f"'{value}'", "reason": "'too_strict'"})
    return settings


def stored(spark: SparkSession, settings: Settings) -> SimpleNamespace:
    """Run ingest; return the number of stored events, and the products of the user of the rejects."""
    pipelines.ingest_topic(spark, settings, available_now=True)
    rows = DeltaTable(path_of(settings.data_root, EVENTS)).to_pyarrow_table().to_pylist()
    return SimpleNamespace(count=len(rows), products=sorted(row["product_id"] for row in rows if row["user_id"] == 7))


def test_a_dry_run_sends_nothing_and_each_reject_is_sent_once(spark: SparkSession, run: Settings) -> None:
    stays = RejectCounts("not_a_json_object", 2, 0, 0)
    assert replay_rejects(run, send=False) == [stays, RejectCounts("too_strict", 3, 0, 3)]
    assert message_count(run.kafka) == 10
    assert replay_rejects(run, send=True) == [stays, RejectCounts("too_strict", 3, 0, 3)]
    assert replay_rejects(run, send=True) == [stays, RejectCounts("too_strict", 3, 3, 0)]
    assert message_count(run.kafka) == 13
    found = stored(spark, run)
    assert (found.count, found.products) == (8, [0, 1, 2])
    assert len(contents(run.data_root, REJECTED_EVENTS)) == 5
    counts = master_dataset_counts(run.data_root)
    assert (counts.stored or 0) + sum(counts.rejected.values()) == message_count(run.kafka)


@pytest.mark.parametrize("sent", [0, 2, 3])
def test_a_replay_that_fails_after_some_messages_resumes_with_the_others(
    spark: SparkSession, run: Settings, monkeypatch: pytest.MonkeyPatch, sent: int
) -> None:
    send_all = reject_replay._send

    def fail(kafka: KafkaSettings, accepted: list[reject_replay.AcceptedReject]) -> None:
        send_all(kafka, accepted[:sent])
        raise OSError("pulled the plug")

    monkeypatch.setattr(reject_replay, "_send", fail)
    with pytest.raises(OSError, match="pulled the plug"):
        replay_rejects(run, send=True)
    monkeypatch.undo()
    for send_now in (False, True):
        assert replay_rejects(run, send=send_now)[1] == RejectCounts("too_strict", 3, sent, 3 - sent)
    assert replay_rejects(run, send=True)[1] == RejectCounts("too_strict", 3, 3, 0)
    assert stored(spark, run).products == [0, 1, 2]


def test_a_second_run_is_refused_and_an_empty_root_is_named(run: Settings, new_settings: NewSettings) -> None:
    with (
        exclusive_lock(f"{run.data_root}/replayed_rejects", LambdaSparkError("mine")),
        pytest.raises(LambdaSparkError, match="being replayed already: wait"),
    ):
        replay_rejects(run, send=True)
    with pytest.raises(NotComputedError, match=r"run jobs/ingest_events\.py"):
        replay_rejects(new_settings(kafka=run.kafka.model_dump()), send=True)


def test_the_job_prints_the_counts(run: Settings) -> None:
    dry_run = run_job([sys.executable, JOB], run, PROJECT_ROOT)
    assert re.search(r"^too_strict +3 +0 +3$", dry_run, re.MULTILINE)
    assert "Nothing was sent: --send sends them to the topic, each once." in dry_run
    assert "sent now" in run_job([sys.executable, JOB, "--send"], run, PROJECT_ROOT)
    away = environment_of(run, LAMBDA_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    answer = subprocess.run([sys.executable, JOB, "--send"], env=away, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
