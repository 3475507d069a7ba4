"""The shared parts of job scripts: options over settings, ranges, and errors as one sentence."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from lambda_spark import cli
from lambda_spark.errors import EventFileError, SettingsError, TimeRangeError
from lambda_spark.settings import load_settings
from lambda_spark.time_ranges import TimeRange

UTC = timezone.utc


def parse(*arguments: str) -> Namespace:
    options = cli.parser("A job.")
    for add in (cli.add_table_options, cli.add_topic_options, cli.add_range_options):
        add(options)
    return options.parse_args(arguments)


def test_options_go_on_top_of_the_settings() -> None:
    args = parse("--data-root", "/mnt/shop", "--topic", "clicks")
    settings = cli.load(args, trends={"days": 3, "top": None}, brands={"limit": None})
    assert (settings.data_root, settings.kafka.topic, settings.trends.days) == ("/mnt/shop", "clicks", 3)


def test_without_options_the_settings_stay_as_they_are() -> None:
    assert cli.load(parse(), trends={"days": None}) == cli.load(Namespace()) == load_settings()


def test_an_option_with_a_bad_value_is_an_error_that_names_it() -> None:
    with pytest.raises(SettingsError, match=r"trends\.top = 0"):
        cli.load(parse(), trends={"top": 0})


def test_the_order_of_recommendations_is_an_option() -> None:
    for word in ("trend-rank", "origin"):
        assert cli.load(parse(), recommendations={"order": word}).recommendations.order == "trend-rank"
    with pytest.raises(SettingsError, match=r"recommendations\.order = 'luck': Input should be .*'trend-rank'"):
        cli.load(parse(), recommendations={"order": "luck"})


def test_a_range_is_asked_for_with_both_ends_or_none() -> None:
    assert cli.asked_range(parse(), "day") is None
    asked = TimeRange(datetime(2019, 11, 1, tzinfo=UTC), datetime(2019, 11, 8, tzinfo=UTC))
    assert cli.asked_range(parse("--from", "2019-11-01", "--to", "2019-11-08T00:00:00Z"), "day") == asked
    for half in ("--from", "--to"):
        with pytest.raises(TimeRangeError, match="both --from and --to"):
            cli.asked_range(parse(half, "2019-11-01"), "day")


@pytest.mark.parametrize(
    ("start", "end", "bucket", "sentence"),
    [
        ("first of May", "2019-11-08", "day", "'first of May' is no date"),
        ("2019-11-08", "2019-11-01", "day", "--from 2019-11-08 is not before --to 2019-11-01"),
        ("2019-11-01", "2019-11-08T12:00:00", "day", r"nearest, \[2019-11-01, 2019-11-08\)"),
        ("2019-11-01", "2019-11-08", "fortnight", "'fortnight' is no bucket"),
    ],
)
def test_a_range_that_cannot_be_answered_is_refused_before_spark_starts(
    start: str, end: str, bucket: str, sentence: str
) -> None:
    with pytest.raises(TimeRangeError, match=sentence):
        cli.asked_range(parse("--from", start, "--to", end), bucket)


def outcome(main: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """Return the exit code and what was written to standard error."""
    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    return stop.value.code, capsys.readouterr().err


def test_an_error_of_the_user_is_one_sentence_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise TimeRangeError("'May' is no date.")

    assert outcome(main, capsys) == (2, "error: 'May' is no date.\n")


def test_an_error_of_the_user_inside_a_spark_task_is_the_same_sentence(
    spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = "Cannot read month.csv to its end (it's cut off): check the file, or fetch it again."

    def fail(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            raise EventFileError(sentence)
        yield from ()

    def main() -> None:
        spark.range(1).mapInArrow(fail, "id bigint").collect()

    assert outcome(main, capsys) == (2, f"error: {sentence}\n")


def test_ctrl_c_is_exit_code_130_without_a_stack_trace(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    assert outcome(main, capsys) == (130, "")


def test_a_bug_keeps_its_stack_trace() -> None:
    def main() -> None:
        raise ZeroDivisionError("not an error of the user")

    with pytest.raises(ZeroDivisionError):
        cli.run(main)


def test_a_successful_job_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(lambda: None)
    assert capsys.readouterr() == ("", "")
