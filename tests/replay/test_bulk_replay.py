"""The replay through Spark on a real broker: the same messages in the same order, each once, whatever interrupts it."""

import gzip
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE
from kafka import KafkaAdminClient, KafkaProducer
from pyspark.sql import SparkSession
from replays import ODD_LINES, event, half_done, lines_of, lines_sent, messages, run_job, write

from lambda_spark import cli
from lambda_spark.errors import EventFileError
from lambda_spark.events.event_files import file_id
from lambda_spark.kafka.client import message_count
from lambda_spark.local.synthetic import write_month
from lambda_spark.replay.bulk_replay import bulk_replay
from lambda_spark.replay.replay import Replayed, replay
from lambda_spark.settings import KafkaSettings, load_settings


@pytest.fixture
def new_kafka(broker: str, new_topic: Callable[[], str]) -> Callable[[], KafkaSettings]:
    return lambda: load_settings(kafka={"bootstrap_servers": broker, "topic": new_topic()}).kafka


@pytest.fixture
def kafka(new_kafka: Callable[[], KafkaSettings]) -> KafkaSettings:
    return new_kafka()


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("month") / "month.csv"
    write_month(path, events=100_000)
    return path


def contents(kafka: KafkaSettings) -> list[tuple[Any, ...]]:
    return [(found.partition, found.offset, found.key, found.value, found.headers) for found in messages(kafka)]


def test_the_topic_is_the_same_as_after_a_plain_replay(
    spark: SparkSession, new_kafka: Callable[[], KafkaSettings], tmp_path: Path
) -> None:
    rows = [event(number, user=number % 700) for number in range(5_000)]
    files = [
        write(tmp_path / "odd, ü.csv", [*ODD_LINES, *rows, *ODD_LINES, *ODD_LINES]),
        write(tmp_path / "none.csv", []),
    ]
    packed = tmp_path / "two.csv.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "two.csv", rows[::-1]).read_bytes()))
    plain, bulk = new_kafka(), new_kafka()
    replay(plain, [*files, packed])
    assert bulk_replay(spark, bulk, [*files, packed]) == Replayed(10_018, 0)
    assert contents(bulk) == contents(plain)


@pytest.mark.parametrize("name", ["rees46-multi-2019-10-01.csv", "tmall-61users-6months.csv.gz"])
def test_real_files_arrive_as_in_a_plain_replay(
    spark: SparkSession, new_kafka: Callable[[], KafkaSettings], real_file: Callable[[str], Path], name: str
) -> None:
    plain, bulk = new_kafka(), new_kafka()
    replay(plain, [real_file(name)])
    bulk_replay(spark, bulk, [real_file(name)])
    assert contents(bulk) == contents(plain)


def test_both_replays_resume_each_other(spark: SparkSession, kafka: KafkaSettings, tmp_path: Path) -> None:
    file = write(tmp_path / "month.csv", [event(number, user=number) for number in range(2_000)])
    longer = write(tmp_path / "longer.csv", [event(number, user=number) for number in range(3_000)])
    assert replay(kafka, [file], limit=700) == Replayed(700, 0)
    assert bulk_replay(spark, kafka, [file, longer]) == Replayed(4_300, 700)
    assert bulk_replay(spark, kafka, [file, longer]) == Replayed(0, 5_000)
    assert replay(kafka, [longer, file]) == Replayed(0, 5_000)
    assert lines_sent(kafka, file) == lines_of(file)


def test_a_replay_finds_its_messages_without_the_group_and_among_other_messages(
    spark: SparkSession, kafka: KafkaSettings, tmp_path: Path
) -> None:
    file = write(tmp_path / "month.csv", [event(number, user=number) for number in range(2_000)])
    bulk_replay(spark, kafka, [file])
    other = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    for number in range(3_000):
        other.send(kafka.topic, value=b"somebody else's", partition=number % 4)
    other.close()
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.delete_groups([f"replay-{file_id(file)}"])
    admin.close()
    assert bulk_replay(spark, kafka, [file]) == Replayed(0, 2_000)


@pytest.mark.slow
def test_stopped_and_killed_replays_resume_until_each_file_is_there_once(
    spark: SparkSession, kafka: KafkaSettings, month: Path, tmp_path: Path
) -> None:
    second = write(tmp_path / "second.csv", [event(number, user=number) for number in range(1_000)])
    with half_done(kafka, month, second, "--bulk") as process:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")
    assert output == "Stopped. The same command resumes here.\n"
    with half_done(kafka, month, second, "--bulk") as process:
        process.kill()
    done = bulk_replay(spark, kafka, [month, second])
    assert done.sent < 101_000
    assert message_count(kafka) == 101_000
    assert lines_sent(kafka, month) == lines_of(month)
    assert lines_sent(kafka, second) == lines_of(second)


def test_progress_grows_up_to_the_lines_of_all_files(
    spark: SparkSession, kafka: KafkaSettings, small_month: Path, tmp_path: Path
) -> None:
    reported: list[tuple[int, int]] = []
    copy = shutil.copy(small_month, tmp_path / "copy.csv")
    bulk_replay(spark, kafka, [small_month, Path(copy)], on_progress=lambda done, total: reported.append((done, total)))
    assert reported == sorted(reported)
    assert reported[-1] == (40_000, 40_000)


def test_a_line_too_long_for_the_topic_is_named(
    spark: SparkSession, kafka: KafkaSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "long.csv", [event(1), "x" * 2_000_000, event(2)])
    assert bulk_replay(spark, kafka, [file]) == Replayed(3, 0)
    too_long = write(tmp_path / "longer.csv", [event(3), "x" * 17_000_000])
    with pytest.raises(SystemExit) as exit_info:
        cli.run(lambda: bulk_replay(spark, kafka, [too_long]))
    assert exit_info.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"error: Line 3 of longer\.csv has 17,000,000 bytes.*max\.message\.bytes\.", line)


def test_a_damaged_file_sends_nothing(spark: SparkSession, kafka: KafkaSettings, month: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.csv.gz"
    damaged.write_bytes(gzip.compress(month.read_bytes()[:1_000_000])[:-100])
    with pytest.raises(EventFileError, match=r"Cannot read .*damaged\.csv\.gz to its end"):
        bulk_replay(spark, kafka, [month, damaged])
    assert message_count(kafka) == 0


def test_options_that_exclude_each_other_are_named(kafka: KafkaSettings, month: Path) -> None:
    done = run_job(kafka, month, "--bulk", "--limit", "5")
    assert done.returncode == 2
    assert "leave out --speed and --limit" in done.stderr
