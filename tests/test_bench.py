"""The benches measure correctly: rates, medians, memory of whole process trees, right and wrong answers."""

import json
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from helpers import event, send, write_events

from bench.alternatives import common
from bench.brand_lists import Lists, MergedBrands, agreement, answered_lists, true_lists
from bench.case import Case, Column, Goal, Table
from bench.process import BenchError, run_measured
from bench.progress import Progress, printed_progress, steady_rate
from bench.results import as_markdown, goal_lines, keep, read_session, replace_section
from bench.server import SERVE, UNLIMITED, ask, find_wrk, load, running_server
from bench.serving_data import write_answers, write_views
from bench.testbed import known_user_ids
from lambda_spark.settings import PROJECT_ROOT, Settings

ALTERNATIVES = PROJECT_ROOT / "bench" / "alternatives"


def many_brands(seed: int) -> list[dict[str, str]]:
    """Return events in the order of time, no two of a user at once, of three users who view about 80 brands each."""
    rng = random.Random(seed)
    brands = ["", "Unknown", " Ålma", *(f"b{number}" for number in range(80))]
    return [
        event(
            f"2020-03-01 {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}", rng.randint(1, 3), 1, brand=name
        )
        for second in range(900)
        for name in [rng.choice(brands)]
    ]


def test_memory_and_output_are_those_of_the_process_with_its_children(tmp_path: Path) -> None:
    child = "import time; memory = bytearray(200_000_000); time.sleep(2)"
    parent = f"import subprocess, sys; print('done'); subprocess.run([sys.executable, '-c', {child!r}])"
    measured = run_measured([sys.executable, "-c", parent], {}, tmp_path)
    assert measured.usage().peak_bytes > 200_000_000
    assert measured.output == "done\n"
    assert measured.seconds > 2


def test_a_failed_run_is_an_error_with_its_output(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no such thing"):
        run_measured([sys.executable, "-c", "raise SystemExit('no such thing')"], {}, tmp_path)


def test_the_steady_rate_excludes_the_start() -> None:
    assert steady_rate([Progress(100.0, 50), Progress(110.0, 100), Progress(112.0, 600), Progress(114.0, 1_000)]) == 225


@pytest.mark.parametrize("rest", [0, 3, 900])
def test_one_large_micro_batch_and_a_rest_have_no_steady_rate(rest: int) -> None:
    assert steady_rate([Progress(100.0, 1_000), Progress(101.0, 1_000 + rest)]) is None


def test_progress_sums_workers_and_ends_with_the_total() -> None:
    lines = [
        {"at": 1.0, "done": 10, "worker": 0},
        {"at": 2.0, "done": 20, "worker": 1},
        {"at": 3, "done": 28, "worker": 0},
    ]
    output = "a log line\n" + "\n".join(map(json.dumps, lines))
    assert printed_progress(output, total=50) == [Progress(1.0, 10), Progress(2.0, 30), Progress(3, 50)]


def test_an_alternative_keeps_the_same_50_brands_as_the_truth(tmp_path: Path) -> None:
    rows = many_brands(seed=1)
    truth = true_lists(write_events(tmp_path / "events.csv", rows))
    lists: Lists = {}
    random.Random(2).shuffle(rows)
    for row in rows:
        if brand := common.brand_of(row["brand"]):
            common.remember(lists.setdefault(row["user_id"], {}), brand, row["event_time"])
    assert {len(brands) for brands in truth.values()} == {50}
    assert lists == truth


def test_a_wrong_list_lowers_the_agreement() -> None:
    truth = {"1": {"a": "t1"}, "2": {"b": "t2"}}
    assert agreement(truth, {"1": {"a": "t1"}, "2": {"b": "t1"}}) == 50
    assert agreement(truth, {"1": {"a": "t1"}}) == 50


@pytest.mark.parametrize("workers", [1, 2])
def test_the_original_way_reads_a_real_topic_to_its_end(
    workers: int, new_run: Callable[..., Settings], tmp_path: Path
) -> None:
    rows, settings = many_brands(seed=3), new_run()
    send(settings.kafka, rows)
    command = [
        sys.executable,
        str(ALTERNATIVES / "kafka_dict.py"),
        "--workers",
        str(workers),
        "--scratch",
        str(tmp_path),
    ]
    command += ["--bootstrap-servers", settings.kafka.bootstrap_servers, "--topic", settings.kafka.topic]
    measured = run_measured(command, {}, tmp_path)
    assert printed_progress(measured.output, total=len(rows))[-1].done == len(rows)
    assert agreement(true_lists(write_events(tmp_path / "events.csv", rows)), answered_lists(tmp_path)) == 100


def test_the_reader_merges_both_views_and_follows_the_log(tmp_path: Path) -> None:
    brands = pa.list_(pa.struct([("brand", pa.string()), ("last_seen_at", pa.timestamp("us", tz="UTC"))]))

    def lists(users: dict[int, dict[str, int]]) -> pa.Table:
        items = [[{"brand": name, "last_seen_at": at} for name, at in seen.items()] for seen in users.values()]
        return pa.table({"user_id": pa.array(users, pa.int64()), "brands": pa.array(items, brands)})

    write_deltalake(tmp_path / "user_brands", lists({7: {"a": 5, "b": 3}, 8: {"c": 1}}))
    write_deltalake(tmp_path / "recent_brands", lists({9: {"d": 1}}))
    reader = MergedBrands(tmp_path)
    assert list(reader.refresh()) == []
    write_deltalake(tmp_path / "recent_brands", lists({7: {"b": 9, "e": 4}}), mode="append")
    assert list(reader.refresh()) == [(7, {"b": 9, "a": 5, "e": 4})]
    assert list(reader.refresh()) == []
    assert reader.brands_of(8) == {"c": 1}


def test_the_document_gets_the_medians_of_the_newest_session_and_keeps_its_text(tmp_path: Path) -> None:
    about = {"table": "speed", "commit": "abc", "data": "9 events", "machine": "m", "versions": "v", "command": "c"}
    for session, case, rates in [
        ("2020-01-01", "ours", [9.0]),
        ("2020-01-02", "ours", [4, 8, 6]),
        ("2020-01-02", "other", [3]),
    ]:
        for rate in rates:
            keep(tmp_path / "results", {**about, "session": session, "case": case, "figures": {"rate": rate}})
    columns = [Column("rate", "events/s", has_ratio=True)]
    cases = [Case(name, prepare=lambda _: pytest.fail("is not run")) for name in ("ours", "other")]
    text = as_markdown(Table("speed", "", cases, columns, "remarks", ()), read_session(tmp_path / "results", "speed"))
    assert "| ours | 6 | 1.00 | 3 |" in text
    assert "| other | 3 | 2.00 | 1 |" in text
    document = replace_section("before\n<!-- bench:speed -->\nold\n<!-- /bench:speed -->\nafter", "speed", text)
    assert document.startswith("before\n")
    assert document.endswith("\nafter")
    assert text in document
    assert "old" not in document
    assert replace_section(document, "speed", text) == document


def test_a_goal_shows_the_figure_and_whether_it_is_met() -> None:
    goals = [
        Goal("ours", "rate", 0.5, "half", "{:.0%}", is_least=True, share_of="limit"),
        Goal("ours", "p99_ms", 10, "within 10 ms", "{:.1f} ms"),
        Goal("other", "p99_ms", 10, "within 10 ms"),
    ]
    medians = {"limit": {"rate": 1_000.0}, "ours": {"rate": 400.0, "p99_ms": 9.96}}
    assert goal_lines(goals, medians) == [
        "- ours: half: 40%, missed",
        "- ours: within 10 ms: 10.0 ms, met",
        "- other: within 10 ms: not measured",
    ]
    medians["ours"] = {"rate": 500.0, "p99_ms": 10.1}
    assert [line.rpartition(" ")[2] for line in goal_lines(goals[:2], medians)] == ["met", "missed"]


def test_without_wrk_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BenchError, match="apt-get install wrk"):
        find_wrk()


def test_every_user_of_the_serving_bench_is_answered_by_both_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, root, answers = 400, tmp_path / "shop", tmp_path / "answers.sqlite"
    write_views(str(root), users, events_a_month=100_000)
    write_answers(answers, users)
    for name, value in {"LAMBDA_DATA_ROOT": str(root), **UNLIMITED}.items():
        monkeypatch.setenv(name, value)
    look_up = [str(ALTERNATIVES / "plain_server.py"), "--answers", str(answers)]
    for command, path in ((SERVE, "/v1/users/{}/recommendations"), (look_up, "/users/{}/recommendations")):
        with running_server([sys.executable, *command], path.format(known_user_ids(users)[0])) as server:
            client = server.client()
            found = [ask(client, path.format(user_id)) for user_id in known_user_ids(users)]
            assert {status for status, _ in found} == {200}
            lengths = [text.count(b'"product_id"') for _, text in found]
            memory, most = server.memory()
        assert max(lengths) == 10
        assert 20e6 < memory <= most


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk: apt-get install wrk")
def test_the_load_counts_answers_and_fails_if_a_request_fails() -> None:
    with running_server([sys.executable, str(ALTERNATIVES / "plain_server.py")], "/constant") as server:
        figures = load(server, "/constant", users=5, seconds=1)
        assert figures["rate"] > 100
        assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"]
        with pytest.raises(BenchError, match="requests for /%d failed"):
            load(server, "/%d", users=5, seconds=1)


def test_a_server_that_ends_before_it_answers_is_an_error() -> None:
    with (
        pytest.raises(BenchError, match="ended with 3"),
        running_server([sys.executable, "-c", "raise SystemExit(3)"], "/"),
    ):
        pytest.fail("It does not answer.")
