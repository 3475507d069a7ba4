"""The output on the terminal, and the JSON and CSV of recommend.py."""

import csv
import io
import json
import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from rich.console import Console
from sample_run import END, START, USER, recommendation, summary, trend, user_brands

from lambda_spark.delta.event_log import Counts
from lambda_spark.report import answers, console, words
from lambda_spark.report.terminal import sparkline
from lambda_spark.serving.verification import Difference


def printed(show, *arguments, width=120):
    stream = io.StringIO()
    out = console.make_console(stream)
    out.width = width
    show(out, *arguments)
    return stream.getvalue()


def test_equal_counts_are_confirmed_for_each_layer():
    text = printed(console.print_counts, Counts(4210, 4210, 4210, 4208, {"not_nine_fields": 2}))
    assert "✓ The batch layer received all 4,210 messages sent." in text
    assert "✓ The speed layer received all 4,210 messages sent." in text
    assert "✗" not in text
    assert "not_nine_fields" in text
    assert "The line has not nine fields." in text


def test_counts_that_differ_are_named_with_what_to_do():
    text = printed(console.print_counts, Counts(100, 90, 101, 80, {"not_nine_fields": 9}))
    assert "✗ The batch layer lacks 10 messages of 100 sent: run ingest_events.py again" in text
    assert "✗ The speed layer received 1 message more than the 100 sent." in text
    assert "✗ Stored and rejected add up to 89, not to what the batch layer received." in text


def test_a_job_shows_only_the_counts_it_has():
    text = printed(console.print_counts, Counts(speed_received=7))
    assert "Received by the speed layer" in text
    assert "batch" not in text
    assert "✗" not in text


def test_every_figure_of_a_trend_is_shown_on_a_wide_terminal():
    text = printed(console.print_trends, [trend(1, 1004856, [21, 24, 30, 45, 60, 81, 96])], "users", 25)
    assert "2019-11-01 to 2019-11-08 UTC" in text
    for shown in ("1004856", "norrvik", "smartphone", "21 24 30 45 60 81 96", "+357 %", "+1.90", "+568 %", "confirmed"):
        assert shown in " ".join(text.split())
    assert "Each bar is the events of one day, from 1 Nov to 7 Nov (UTC)." in text


@pytest.mark.parametrize(("count_by", "counted"), [("users", "distinct users"), ("events", "events")])
def test_the_legend_explains_the_increase_and_the_score(count_by, counted):
    text = " ".join(printed(console.print_trends, [trend(1, 5, [3, 9])], count_by, None).split())
    assert "Increase: events of the last bucket against the first" in text
    assert f"logarithm of the growth of {counted} from the earlier buckets to the latest ones" in text


@pytest.mark.parametrize("width", [80, 120, 140])
def test_no_line_is_wider_than_the_terminal_and_the_brand_stays_readable(width):
    run = summary(trends=[trend(1, 1004856, [9_000, 12_345, 0, 0, 4, 1_234_567, 99_999], brand="hotpoint-ariston")])
    text = printed(console.print_summary, run, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "hotpoint-ar" in text


def test_many_buckets_become_a_short_sparkline_that_says_so():
    hours = [SimpleNamespace(bucket_at=START + timedelta(hours=hour), event_count=float(hour)) for hour in range(168)]
    row = trend(1, 1, [1, 2], bucket="hour", buckets=hours)
    text = printed(console.print_trends, [row], "users", 25, width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "the mean of 14 buckets of one hour, from 1 Nov 00:00 to 7 Nov 23:00" in " ".join(text.split())


def test_a_sparkline_shows_a_small_count_apart_from_none():
    assert sparkline([0, 1, 100], most_bars=24) == "▁▂█"
    assert sparkline([0, 0], most_bars=24) == "▁▁"


def test_a_product_without_events_in_its_first_bucket_is_new():
    text = printed(console.print_trends, [trend(1, 5, [0, 0, 3, 9, 9, 9, 9])], "users", 25)
    assert " new " in text
    assert words.reason(recommendation(USER, 1, trend(1, 5, [0, 9]))).startswith("new in 7 days, trend no. 1")


def test_brands_are_shown_newest_first_with_their_number():
    text = printed(console.print_brands, [user_brands(USER, "norrvik", "qivra", "ålma")], 50)
    assert str(USER) in text
    assert "3 of 50" in text
    assert text.index("norrvik") < text.index("qivra") < text.index("ålma")
    assert "2019-11-07 22:00" in text


def test_a_recommendation_says_why():
    row = recommendation(USER, 1, trend(3, 5, [10, 20, 34]))
    assert words.reason(row, 23) == (
        "up 240 % in 7 days, trend no. 3; you looked at norrvik 2 days ago (brand no. 1 of 23)"
    )
    assert "down 50 % in 7 days" in words.reason(recommendation(USER, 1, trend(3, 5, [10, 5])))


def test_a_fallback_says_that_it_is_one():
    row = recommendation(USER, 2, trend(3, 5, [10, 34]), is_fallback=True, brand_position=None, brand_last_seen_at=None)
    assert "fallback: a trend of the whole shop, not of your recent brands" in printed(
        console.print_recommendations, [row]
    )


@pytest.mark.parametrize(
    ("elapsed", "words_for_it"),
    [
        (timedelta(seconds=30), "just now"),
        (timedelta(minutes=59, seconds=59), "59 minutes ago"),
        (timedelta(hours=1, minutes=10), "1 hour ago"),
        (timedelta(hours=47), "1 day ago"),
        (timedelta(days=400), "400 days ago"),
    ],
)
def test_how_long_ago_is_rounded_down_to_one_unit(elapsed, words_for_it):
    assert words.ago(END - elapsed, END) == words_for_it


def test_empty_results_say_what_to_do():
    assert (
        "No product reached min_events = 25 in this range: lower it with --min-events, or ask for a longer range."
        in (printed(console.print_trends, [], "events", 25))
    )
    assert "reached the minimum of events in this range" in printed(console.print_trends, [], "events", None)
    one_user = " ".join(printed(console.print_trends, [], "users", None).split())
    assert "reached the minimum of distinct users with two users in one bucket in this range" in one_user
    assert "run batch_brands.py or speed_stream.py" in printed(console.print_brands, [], 50)
    assert "set fallback = true" in printed(console.print_recommendations, [])


@pytest.mark.parametrize("brand", ["[red]nor[/red]", "[link=x]y[/link]", "[/]"])
def test_markup_in_a_brand_is_shown_and_not_interpreted(brand):
    product = trend(1, 1, [1, 2], brand=brand)
    run = summary(trends=[product], brands=[user_brands(77, brand)], recommendations=[recommendation(77, 1, product)])
    assert printed(console.print_summary, run).count(brand) >= 4


def test_control_characters_of_an_event_never_reach_the_terminal():
    hostile = "a\x1b[2Jb\u202ec\r\nd"
    stages = {"received": [{"value": hostile.encode()}], "parsed": [{"brand": hostile}]}
    text = printed(answers.print_batch, "batch 1", stages) + printed(
        console.print_brands, [user_brands(7, hostile)], 50
    )
    assert not any(character in text for character in "\x1b\u202e\r")
    assert r"a\x1b[2Jb\u202ec\r\nd" in text


def test_a_batch_shows_its_stages_in_order_and_cuts_long_values():
    stages = {
        "received": [{"offset": 12, "value": b'{"user_id": ' + b"9" * 500}],
        "parsed": [{"user_id": USER, "event_time": START, "brand": None}],
        "state": [{"user_id": USER, "brands": [{"brand": "qivra", "last_seen_at": START}]}],
        "rejected": [],
    }
    text = printed(answers.print_batch, "batch 12 · 4,210 messages", stages, width=80)
    assert "batch 12 · 4,210 messages" in text
    assert text.index("received") < text.index("parsed") < text.index("state") < text.index("rejected: no rows")
    assert max(map(len, text.splitlines())) <= 80
    assert "…" in text
    assert "qivra 2019-11-01 00:00:00" in text


def test_rows_with_many_columns_stay_readable_on_a_narrow_terminal():
    event = {f"column_{number}": f"a value of {number}" for number in range(9)}
    text = printed(answers.print_batch, "batch 1", {"parsed": [event, event]}, width=80)
    assert all(f"column_{number}" in text and f"a value of {number}" in text for number in range(9))


def test_output_without_a_terminal_is_plain_and_of_a_fixed_width(monkeypatch):
    monkeypatch.setenv("COLUMNS", "33")
    stream = io.StringIO()
    out = console.make_console(stream)
    console.print_summary(out, summary())
    assert out.width == 120
    assert "\x1b" not in stream.getvalue()


def test_a_path_is_printed_on_one_line_so_that_it_can_be_copied(tmp_path):
    long_path = tmp_path / ("x" * 200)
    assert f"The batch result is stored in the serving layer: {long_path}\n" in printed(console.print_stored, long_path)


def test_json_and_csv_give_back_the_rows():
    rows = summary().recommendations
    for_json, for_csv = io.StringIO(), io.StringIO(newline="")
    extra = {"as_of": END, "batch_upto": None}
    answers.write_json(rows, extra, for_json)
    answers.write_csv(rows, extra, for_csv)
    from_json = json.loads(for_json.getvalue())
    from_csv = list(csv.DictReader(io.StringIO(for_csv.getvalue(), newline="")))
    assert [item["user_id"] for item in from_json] == [USER, 77]
    assert [int(item["user_id"]) for item in from_csv] == [USER, 77]
    assert (
        [item["brand"] for item in from_json] == [item["brand"] for item in from_csv] == ["norrvik", "tessel & söhne"]
    )
    assert {(item["as_of"], item["batch_upto"]) for item in from_json} == {("2019-11-08T00:00:00Z", None)}
    assert {(item["as_of"], item["batch_upto"]) for item in from_csv} == {("2019-11-08T00:00:00Z", "")}
    assert "söhne" in for_json.getvalue()
    for item, row in zip(from_json, rows, strict=True):
        assert datetime.fromisoformat(item["window_to"].replace("Z", "+00:00")) == row.window_to
        assert item["total_pct_increase"] == row.total_pct_increase
        assert item["is_fallback"] is False
    assert from_csv[0]["brand_last_seen_at"] == "2019-11-05T21:00:00Z"
    assert from_csv[0]["is_fallback"] == "false"


def test_unknown_values_and_awkward_text_survive_both_formats():
    brand = 'a "b", c\nd'
    row = recommendation(USER, 1, trend(1, 1, [0, 1], brand=brand), brand_position=None, brand_last_seen_at=None)
    for_json, for_csv = io.StringIO(), io.StringIO(newline="")
    answers.write_json([row], {}, for_json)
    answers.write_csv([row], {}, for_csv)
    assert json.loads(for_json.getvalue())[0]["total_pct_increase"] is None
    assert json.loads(for_json.getvalue())[0]["brand"] == brand
    [back] = csv.DictReader(io.StringIO(for_csv.getvalue(), newline=""))
    assert (back["brand"], back["brand_position"]) == (brand, "")


def test_how_far_an_answer_reaches_and_whether_two_ways_agree():
    same, other = (Difference("Counts", ("stored", "computed"), 3, only) for only in (([], []), ([{"user_id": 7}], [])))
    assert words.reach(None, END) == "Batch layer up to no event; newest event seen: 2019-11-08 00:00:00 UTC."
    shown = [printed(answers.print_difference, each) for each in (same, other)]
    assert [line.strip() for line in "".join(shown).splitlines() if line.strip()] == [
        "✓ Counts: 3 rows are equal.",
        "✗ Counts: 3 rows, not all equal.",
        "Only stored",
        "user_id",
        "7",
        "Only computed: no rows",
    ]


def test_no_recommendations_are_an_empty_array():
    stream = io.StringIO()
    answers.write_json([], {}, stream)
    assert json.loads(stream.getvalue()) == []


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of a process can be set on Unix only")
def test_naive_times_are_local_as_pyspark_returns_them(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        naive = datetime.fromtimestamp(END.timestamp())  # what pyspark does
        assert naive.hour == 5
        assert words.iso(naive) == "2019-11-08T00:00:00Z"
        assert words.minute(datetime(2019, 11, 8, tzinfo=timezone.utc)) == "2019-11-08 00:00"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_console_starts_without_spark_and_without_the_chart_library():
    code = "import sys, lambda_spark.report.console; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert not {"pyspark", "altair", "jinja2", "pandas"} & set(done.stdout.split())


def test_a_colour_terminal_gets_colour():
    stream = io.StringIO()
    console.print_counts(Console(file=stream, force_terminal=True, color_system="standard"), Counts(1, 1, 1, 1))
    assert "\x1b[1;32m✓" in stream.getvalue()
