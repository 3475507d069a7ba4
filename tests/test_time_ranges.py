"""Ranges, buckets and what is answered where nothing is asked for."""

from datetime import date, datetime, timedelta, timezone

import pytest

from lambda_spark.errors import TimeRangeError
from lambda_spark.time_ranges import (
    EventDay,
    Request,
    TimeRange,
    bucket_name,
    check_held,
    check_range,
    complete_days,
    default_request,
    default_windows,
    format_instant,
    parse_bucket,
    parse_instant,
)

UTC = timezone.utc


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def over(start: str, end: str) -> TimeRange:
    return TimeRange(at(start), at(end))


def held(day: str, first: str = "00:00:00", last: str = "23:59:59") -> EventDay:
    return EventDay(date.fromisoformat(day), at(f"{day} {first}"), at(f"{day} {last}"))


def days(month: str, first: int, last: int) -> list[EventDay]:
    return [held(f"{month}-{day:02}") for day in range(first, last + 1)]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2019-11-01", "2019-11-01"),
        (" 2019-11-01T12:30:00 ", "2019-11-01 12:30:00"),
        ("2019-11-01 12:30:00 UTC", "2019-11-01 12:30:00"),
        ("2019-11-01T12:30:00Z", "2019-11-01 12:30:00"),
        ("2019-11-01T12:30:00+05:30", "2019-11-01 07:00:00"),
    ],
)
def test_dates_and_instants_are_utc_unless_they_say_otherwise(text: str, instant: str) -> None:
    assert parse_instant(text) == at(instant)
    assert parse_instant(text).utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["", "yesterday", "2019-11-31", "11/01/2019", "2019-11-01T25:00"])
def test_what_is_no_instant_is_named_with_what_to_write(text: str) -> None:
    with pytest.raises(TimeRangeError, match="is no date or instant: write 2019-11-01 or") as error:
        parse_instant(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("text", "size", "name"),
    [
        ("day", timedelta(days=1), "day"),
        ("1 day", timedelta(days=1), "day"),
        ("24 hours", timedelta(days=1), "day"),
        ("hour", timedelta(hours=1), "hour"),
        ("60 minutes", timedelta(hours=1), "hour"),
        (" 10  minutes ", timedelta(minutes=10), "10 minutes"),
        ("90 minutes", timedelta(minutes=90), "90 minutes"),
        ("6 hours", timedelta(hours=6), "6 hours"),
        ("minute", timedelta(minutes=1), "minute"),
    ],
)
def test_a_bucket_has_a_size_and_one_name(text: str, size: timedelta, name: str) -> None:
    assert parse_bucket(text) == size
    assert bucket_name(size) == name
    assert parse_bucket(name) == size


@pytest.mark.parametrize(
    "text", ["", "week", "2 days", "25 hours", "0 hours", "-1 hours", "1.5 hours", "10minutes", "10"]
)
def test_what_is_no_bucket_is_named_with_what_to_write(text: str) -> None:
    with pytest.raises(TimeRangeError, match="is no bucket: write day, hour") as error:
        parse_bucket(text)
    assert repr(text) in str(error.value)


def test_a_range_of_whole_buckets_is_taken_as_it_is() -> None:
    for bucket in ("day", "hour", "10 minutes"):
        asked = over("2019-11-01", "2019-11-08")
        assert check_range(asked, bucket) == asked
    # Days that start at noon are days too.
    asked = over("2019-11-01 12:00:00", "2019-11-03 12:00:00")
    assert check_range(asked, "day") == asked


@pytest.mark.parametrize(
    ("asked", "bucket", "nearest"),
    [
        (over("2019-11-01", "2019-11-08 12:00:00"), "day", "[2019-11-01, 2019-11-08) or [2019-11-01, 2019-11-09)"),
        (
            over("2019-11-01", "2019-11-01 02:50:00"),
            "hour",
            "[2019-11-01, 2019-11-01T02:00:00) or [2019-11-01, 2019-11-01T03:00:00)",
        ),
        # A single bucket is no answer, so it is not offered.
        (over("2019-11-01", "2019-11-02 12:00:00"), "day", "ask for the nearest, [2019-11-01, 2019-11-03)."),
        (over("2019-11-01", "2019-11-01 06:00:00"), "day", "ask for the nearest, [2019-11-01, 2019-11-03)."),
    ],
)
def test_a_range_that_is_no_whole_number_of_buckets_is_told_the_nearest(
    asked: TimeRange, bucket: str, nearest: str
) -> None:
    with pytest.raises(TimeRangeError) as error:
        check_range(asked, bucket)
    message = str(error.value)
    assert message.startswith(f"{asked} is no whole number of buckets ({bucket})")
    assert nearest in message
    for offered in message.split("nearest, ")[1].rstrip(".").split(" or "):
        start, end = offered.strip("[)").split(", ")
        check_range(TimeRange(parse_instant(start), parse_instant(end)), bucket)


def test_a_single_bucket_is_no_trend() -> None:
    with pytest.raises(TimeRangeError, match=r"\[2019-11-01, 2019-11-02\) is a single bucket .* choose a finer"):
        check_range(over("2019-11-01", "2019-11-02"), "day")


@pytest.mark.parametrize("end", ["2019-11-01", "2019-10-01"])
def test_a_range_that_does_not_run_forward_names_both_ends(end: str) -> None:
    with pytest.raises(TimeRangeError, match=f"--from 2019-11-01 is not before --to {end}"):
        check_range(over("2019-11-01", end), "day")


NOVEMBER = [held("2019-11-01", first="06:00:00"), *days("2019-11", 2, 29), held("2019-11-30", last="23:30:00")]


@pytest.mark.parametrize(
    ("start", "end"), [("2019-11-01", "2019-12-01"), ("2019-11-29", "2019-12-01"), ("2019-11-03", "2019-11-05")]
)
def test_a_range_inside_the_data_needs_no_word(start: str, end: str) -> None:
    assert check_held(over(start, end), NOVEMBER) == ()


@pytest.mark.parametrize(
    ("start", "end"), [("2019-10-31", "2019-11-03"), ("2019-11-29", "2019-12-02"), ("2019-01-01", "2020-01-01")]
)
def test_a_range_that_reaches_past_the_data_is_answered_and_says_so(start: str, end: str) -> None:
    [note] = check_held(over(start, end), NOVEMBER)
    assert str(over(start, end)) in note
    assert "2019-11-01T06:00:00 to 2019-11-30T23:30:00" in note


def test_a_last_day_that_is_not_complete_is_past_the_data_too() -> None:
    morning = [held("2019-10-01", last="02:49:59")]
    assert check_held(over("2019-10-01", "2019-10-01 03:00:00"), morning) == ()
    assert len(check_held(over("2019-10-01", "2019-10-02"), morning)) == 1


@pytest.mark.parametrize(
    ("start", "end"),
    [("2019-10-01", "2019-11-01"), ("2019-10-01", "2019-11-01 06:00:00"), ("2019-12-01", "2019-12-08")],
)
def test_a_range_wholly_outside_the_data_names_the_datas_own(start: str, end: str) -> None:
    with pytest.raises(TimeRangeError, match="runs from 2019-11-01T06:00:00 to 2019-11-30T23:30:00") as error:
        check_held(over(start, end), NOVEMBER)
    assert str(over(start, end)) in str(error.value)


@pytest.mark.parametrize(("last", "complete"), [("22:59:59", 2), ("23:00:00", 3), ("23:59:59", 3)])
def test_a_day_is_complete_once_an_event_of_its_last_hour_is_seen(last: str, complete: int) -> None:
    data = [held("2019-11-01", last="05:00:00"), held("2019-11-02"), held("2019-11-03", last=last)]
    assert complete_days(data) == [date(2019, 11, 1), date(2019, 11, 2), date(2019, 11, 3)][:complete]


def test_the_default_is_the_last_complete_days() -> None:
    assert default_request(NOVEMBER, 7, "day") == Request(over("2019-11-24", "2019-12-01"), "day")
    still_going_on = [*NOVEMBER, held("2019-12-01", last="09:00:00")]
    assert default_request(still_going_on, 7, "day") == Request(over("2019-11-24", "2019-12-01"), "day")
    assert default_request(still_going_on, 3, "hour") == Request(over("2019-11-28", "2019-12-01"), "hour")


def test_the_default_is_shorter_where_the_data_is() -> None:
    assert default_request(days("2019-11", 1, 3), 7, "day") == Request(over("2019-11-01", "2019-11-04"), "day")


def test_days_without_events_are_part_of_the_default() -> None:
    sparse = [held("2021-01-10"), held("2021-01-14", "09:00:00", "10:00:00"), held("2021-01-16"), held("2021-02-18")]
    assert default_request(sparse[:3], 7, "day") == Request(over("2021-01-10", "2021-01-17"), "day")
    # Only one day of the last seven has events: days say nothing, hours of that day do.
    request = default_request(sparse, 7, "day")
    assert (request.range, request.bucket) == (over("2021-02-18", "2021-02-18 23:00:00"), "hour")


@pytest.mark.parametrize(
    ("first", "last", "bucket", "start", "end"),
    [
        ("00:00:00", "22:30:00", "hour", "00:00:00", "22:00:00"),
        ("00:00:00", "02:50:00", "10 minutes", "00:00:00", "02:50:00"),
        ("09:07:00", "09:55:00", "5 minutes", "09:05:00", "09:55:00"),
        ("09:07:30", "09:12:10", "minute", "09:07:00", "09:12:00"),
        ("09:07:30", "09:09:00", "minute", "09:07:00", "09:09:00"),
    ],
)
def test_less_than_two_days_are_answered_in_finer_buckets_and_it_says_so(
    first: str, last: str, bucket: str, start: str, end: str
) -> None:
    request = default_request([held("2019-10-01", first, last)], 7, "day")
    assert request.range == over(f"2019-10-01 {start}", f"2019-10-01 {end}")
    assert request.bucket == bucket
    assert f"no two complete days: answered in buckets ({bucket}) over 2019-10-01" in request.notes[0]
    assert check_range(request.range, request.bucket) == request.range


def test_the_bucket_that_is_asked_for_is_kept_where_it_will_do() -> None:
    morning = [held("2019-10-01", last="02:50:00")]
    assert default_request(morning, 7, "hour").bucket == "hour"
    assert default_request(morning, 7, "15 minutes").range == over("2019-10-01", "2019-10-01 02:45:00")
    assert default_request(morning, 7, "2 hours").bucket == "10 minutes"
    # One complete day is enough for hours.
    assert default_request(NOVEMBER, 1, "hour") == Request(over("2019-11-30", "2019-12-01"), "hour")


def test_days_that_are_no_whole_number_of_buckets_are_an_error_by_default_too() -> None:
    with pytest.raises(TimeRangeError, match=r"no whole number of buckets \(5 hours\)"):
        default_request(NOVEMBER, 7, "5 hours")


def test_a_minute_of_events_is_no_trend() -> None:
    with pytest.raises(TimeRangeError, match="All events of 2019-10-01 are within two minutes of 2019-10-01T09:08:20"):
        default_request([held("2019-10-01", "09:07:30", "09:08:20")], 7, "day")


def test_the_default_windows_end_at_each_complete_day_and_start_within_the_data() -> None:
    data = [*days("2019-11", 1, 9), held("2019-11-10", last="12:00:00")]
    assert default_windows(data, 7) == [
        over("2019-11-01", "2019-11-08"),
        over("2019-11-02", "2019-11-09"),
        over("2019-11-03", "2019-11-10"),
    ]
    assert default_windows(data, 10) == []
    assert default_windows([held("2019-11-01"), held("2019-11-09")], 7) == [over("2019-11-03", "2019-11-10")]


def test_instants_are_written_in_utc_and_as_dates_at_midnight() -> None:
    east = timezone(timedelta(hours=3))
    assert format_instant(datetime(2019, 11, 1, 3, tzinfo=east)) == "2019-11-01"
    assert format_instant(datetime(2019, 11, 1, 4, tzinfo=east)) == "2019-11-01T01:00:00"
    assert str(over("2019-11-01", "2019-11-01 12:00:00")) == "[2019-11-01, 2019-11-01T12:00:00)"
