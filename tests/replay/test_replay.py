"""The replay on a real broker: each record once and in order, whatever interrupts it; errors as one sentence."""

import gzip
import json
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from helpers import PATIENCE
from kafka import KafkaAdminClient, KafkaProducer
from replays import HEADER, ODD_LINES, event, half_done, job, lines_of, lines_sent, messages, run_job, write

from lambda_spark.errors import BrokerError, EventFileError, SettingsError
from lambda_spark.events.event_files import file_id, read_records
from lambda_spark.kafka.client import check_broker, check_topic, ensure_topic, message_count
from lambda_spark.local.synthetic import write_month
from lambda_spark.replay.replay import Replayed, replay
from lambda_spark.report.terminal import progress_bar
from lambda_spark.schemas import EVENT_COLUMNS
from lambda_spark.settings import KafkaSettings, load_settings


@pytest.fixture
def kafka(broker: str, new_topic: Callable[[], str]) -> KafkaSettings:
    return load_settings(kafka={"bootstrap_servers": broker, "topic": new_topic()}).kafka


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("month") / "month.csv"
    write_month(path, events=50_000)
    return path


def test_a_message_has_the_texts_of_its_line_or_the_whole_line(kafka: KafkaSettings, tmp_path: Path) -> None:
    file = write(tmp_path / "odd.csv", ODD_LINES)
    assert replay(kafka, [file]) == Replayed(sent=6, already_there=0)
    found = {int(dict(message.headers)["line"]): message for message in messages(kafka)}
    assert sorted(found) == [2, 3, 4, 7, 8, 9]
    assert found[3].value.decode() == "no event at all"
    assert found[8].value.decode() == ODD_LINES[5]
    assert found[9].value.decode() == ODD_LINES[6]
    assert [found[line].key for line in (3, 8, 9)] == [None, None, None]
    quoted = json.loads(found[4].value)
    assert list(quoted) == list(EVENT_COLUMNS)
    assert (quoted["brand"], quoted["category_code"], quoted["user_session"]) == ('two\nlines, "quoted"', "", "müller")
    assert "müller".encode() in found[4].value
    assert (found[4].key, found[7].key) == (b"541312141", b"")
    assert dict(found[2].headers) == {"file": b"odd.csv", "file_id": file_id(file).encode(), "line": b"2"}
    assert abs(found[2].timestamp / 1_000 - time.time()) < 60


@pytest.mark.parametrize(
    "name", ["rees46-multi-2019-10-01.csv", "rees46-electronics-unsorted-raw.csv", "tmall-61users-6months.csv.gz"]
)
def test_each_line_of_a_real_file_arrives_once_and_in_the_order_of_its_user(
    kafka: KafkaSettings, real_file: Callable[[str], Path], name: str
) -> None:
    file = real_file(name)
    replay(kafka, [file])
    sent = defaultdict(list)
    for record in read_records(file):
        sent[record.fields and record.fields[7]].append(record.fields or record.raw)
    arrived = defaultdict(list)
    for message in messages(kafka):
        text = message.value.decode()
        arrived[message.key and message.key.decode()].append(list(json.loads(text).values()) if message.key else text)
    assert arrived == sent


def test_a_user_gets_the_partition_that_other_producers_choose(kafka: KafkaSettings, tmp_path: Path) -> None:
    users = [*range(50), 2**62]
    replay(kafka, [write(tmp_path / "users.csv", [event(0, user) for user in users])])
    other = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    theirs = {user: other.send(kafka.topic, key=str(user).encode(), value=b"x") for user in users}
    other.close()
    ours = {message.key: message.partition for message in messages(kafka) if message.headers}
    assert ours == {str(user).encode(): sent.value.partition for user, sent in theirs.items()}


def test_a_second_replay_sends_nothing_even_without_the_group(kafka: KafkaSettings, month: Path) -> None:
    assert replay(kafka, [month]) == Replayed(50_000, 0)
    assert replay(kafka, [month]) == Replayed(0, 50_000)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.delete_groups([f"replay-{file_id(month)}"])
    admin.close()
    assert replay(kafka, [month]) == Replayed(0, 50_000)
    assert lines_sent(kafka, month) == lines_of(month)


def test_killed_replays_resume_until_the_file_is_there_once(kafka: KafkaSettings, month: Path) -> None:
    for _ in range(2):
        before = message_count(kafka)
        process = subprocess.Popen(job(kafka, month), stdout=subprocess.DEVNULL)
        while message_count(kafka) == before and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        process.wait()
    there = len(messages(kafka))
    assert 0 < there < 50_000
    assert f"Sent {50_000 - there:,} records" in run_job(kafka, month).stdout
    assert lines_sent(kafka, month) == lines_of(month)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_replay_prints_its_count_and_resumes_there(
    kafka: KafkaSettings, month: Path, number: signal.Signals
) -> None:
    with half_done(kafka, month, "--speed", "100000") as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE)
    there = message_count(kafka)
    assert (process.returncode, errors) == (130, "")
    assert f"Sent {there:,} records to topic {kafka.topic} (0 were there already)." in output
    assert replay(kafka, [month]) == Replayed(50_000 - there, there)
    assert lines_sent(kafka, month) == lines_of(month)


def test_a_plain_replay_needs_no_spark() -> None:
    code = "import sys, lambda_spark.replay.replay, lambda_spark.cli; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_files_are_sent_one_after_the_other_and_equal_ones_once(kafka: KafkaSettings, tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", [event(number) for number in range(10)])
    two = write(tmp_path / "two.csv", [event(number) for number in range(7)])
    copy = write(tmp_path / "copy.csv", [event(number) for number in range(10)])
    assert replay(kafka, [one, two, copy]) == Replayed(sent=17, already_there=10)
    names = [dict(message.headers)["file"] for message in messages(kafka)]
    assert names == [b"one.csv"] * 10 + [b"two.csv"] * 7


def test_a_limit_counts_all_records_and_not_only_new_ones(kafka: KafkaSettings, tmp_path: Path) -> None:
    one = write(tmp_path / "one.csv", [event(number, user=number) for number in range(10)])
    two = write(tmp_path / "two.csv", [event(number, user=number) for number in range(7)])
    assert replay(kafka, [one, two], limit=4) == Replayed(4, 0)
    assert replay(kafka, [one, two], limit=4) == Replayed(0, 4)
    assert replay(kafka, [one, two], limit=12) == Replayed(8, 4)
    assert (lines_sent(kafka, one), lines_sent(kafka, two)) == (list(range(2, 12)), [2, 3])
    assert replay(kafka, [one, two], limit=0) == Replayed(0, 0)
    assert replay(kafka, [one, two]) == Replayed(5, 12)


def test_other_messages_in_between_do_no_harm(kafka: KafkaSettings, tmp_path: Path) -> None:
    file = write(tmp_path / "one.csv", [event(number, user=number) for number in range(100)])
    other = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    for limit in (30, 60, 100):
        replay(kafka, [file], limit=limit)
        for partition in range(4):
            other.send(kafka.topic, value=b"somebody else's", headers=[("line", b"x")], partition=partition)
        other.flush()
    other.close()
    assert replay(kafka, [file]) == Replayed(0, 100)
    assert message_count(kafka) == 112


def test_a_topic_created_again_gets_everything_again(kafka: KafkaSettings, tmp_path: Path) -> None:
    file = write(tmp_path / "one.csv", [event(number, user=number) for number in range(20)])
    replay(kafka, [file])
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.delete_topics([kafka.topic])
    deadline = time.monotonic() + PATIENCE
    while kafka.topic in admin.list_topics() and time.monotonic() < deadline:
        time.sleep(0.05)
    admin.close()
    assert replay(kafka, [file]) == Replayed(20, 0)


def test_a_topic_with_more_partitions_than_before_is_refused(kafka: KafkaSettings, tmp_path: Path) -> None:
    file = write(tmp_path / "one.csv", [event(number, user=number) for number in range(20)])
    replay(kafka, [file], limit=10)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.create_partitions({kafka.topic: 6})
    admin.close()
    with pytest.raises(BrokerError, match=r"had 4 partitions .* has 6 now.*: replay into a new topic"):
        replay(kafka, [file])
    assert message_count(kafka) == 10


def test_speed_follows_the_event_times_and_odd_ones_do_not_wait(kafka: KafkaSettings, tmp_path: Path) -> None:
    times = ["2019-10-01 00:00:00 UTC", "2019-10-01 00:00:02+00:00", "no time", "2019-10-01 00:00:06"]
    file = write(tmp_path / "slow.csv", [event(number, at=at) for number, at in enumerate(times)])
    replay(kafka, [file], speed=4)
    stamps = [message.timestamp for message in messages(kafka)]
    waits = [after - before for before, after in pairwise(stamps)]
    assert [round(wait / 500) for wait in waits] == [1, 0, 2]


def test_progress_ends_with_the_limit(kafka: KafkaSettings, month: Path) -> None:
    reported: list[tuple[int, int]] = []
    replay(kafka, [month], limit=30_000, on_progress=lambda done, total: reported.append((done, total)))
    assert len(reported) > 2
    assert reported == sorted(reported)
    assert reported[-1] == (30_000, 30_000)


def test_long_lines_are_sent_and_one_that_is_too_long_is_named(kafka: KafkaSettings, tmp_path: Path) -> None:
    file = write(tmp_path / "long.csv", [event(1), "x" * 2_000_000, event(2)])
    assert replay(kafka, [file]) == Replayed(3, 0)
    too_long = write(tmp_path / "longer.csv", [event(3), "x" * 17_000_000])
    with pytest.raises(EventFileError, match=r"Line 3 of longer\.csv has 17,000,000 bytes.*max\.message\.bytes"):
        replay(kafka, [too_long])


def test_a_damaged_file_sends_nothing(kafka: KafkaSettings, month: Path, tmp_path: Path) -> None:
    packed = gzip.compress(month.read_bytes())
    damaged = tmp_path / "damaged.csv.gz"
    damaged.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(EventFileError, match=r"Cannot read .*damaged\.csv\.gz to its end"):
        replay(kafka, [damaged])
    assert message_count(kafka) == 0


@pytest.mark.parametrize(("option", "value"), [("speed", 0.0), ("speed", float("nan")), ("limit", -1)])
def test_impossible_options_are_named(kafka: KafkaSettings, option: str, value: float, month: Path) -> None:
    with pytest.raises(SettingsError, match=f"The {option} cannot be {value:g}"):
        replay(kafka, [month], **{option: value})


def test_a_topic_is_created_once_and_keeps_its_messages_forever(broker: str) -> None:
    kafka = load_settings(kafka={"bootstrap_servers": broker, "topic": "not-yet", "partitions": 3}).kafka
    with pytest.raises(BrokerError, match=r"no topic not-yet at .*: replay events into it"):
        check_topic(kafka)
    created = ensure_topic(kafka)
    assert created == ensure_topic(kafka.model_copy(update={"partitions": 8}))
    assert created.partitions == 3
    check_topic(kafka)
    check_broker(kafka)
    assert message_count(kafka) == 0


def test_the_job_prints_its_counts_and_nothing_else(kafka: KafkaSettings, tmp_path: Path) -> None:
    write(tmp_path / "b.csv", [event(1), event(2)])
    write(tmp_path / "a.csv", [event(3)])
    done = run_job(kafka, tmp_path, "--limit", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Sent 2 records to topic {kafka.topic} (0 were there already).\n"
    assert run_job(kafka, tmp_path).stdout == f"Sent 1 records to topic {kafka.topic} (2 were there already).\n"


@pytest.mark.parametrize(
    ("bootstrap_servers", "file", "sentence"),
    [
        (None, "2019-Nov.csv", r"There is no event file .*2019-Nov\.csv: name a csv"),
        ("127.0.0.1:1", "one.csv", r"No Kafka broker answers at 127\.0\.0\.1:1: start one with `make broker`"),
        (None, "wrong.csv", r"missing: none; unexpected: 'more'"),
    ],
)
def test_the_job_explains_what_is_wrong_in_one_line(
    kafka: KafkaSettings, tmp_path: Path, bootstrap_servers: str | None, file: str, sentence: str
) -> None:
    write(tmp_path / "one.csv", [event(1)])
    (tmp_path / "wrong.csv").write_text(f"{HEADER},more\n")
    settings = kafka.model_copy(update={"bootstrap_servers": bootstrap_servers or kafka.bootstrap_servers})
    start = time.monotonic()
    done = run_job(settings, tmp_path / file)
    assert time.monotonic() - start < 15
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert re.search(sentence, line)


def test_the_progress_bar_shows_count_and_rate_on_a_terminal_and_nothing_elsewhere(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress_bar("Replaying") as on_progress:
        on_progress(1_000, 2_500)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with progress_bar("Replaying") as on_progress:
        on_progress(1_000, 2_500)
    shown = capfd.readouterr().err
    assert "Replaying" in shown
    assert "1,000 of 2,500" in shown
