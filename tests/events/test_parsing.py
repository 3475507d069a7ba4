"""The parsing rule: what is an event, and the reason why anything else is none."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from chispa import assert_df_equality
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from lambda_spark import engine
from lambda_spark.events import parsing
from lambda_spark.events.event_files import plan_ranges, read_records
from lambda_spark.events.parsing import PARSE_LINES, PARSE_MESSAGES, divide_messages, parse_messages, parse_range
from lambda_spark.schemas import EVENT_COLUMNS, EVENTS, PARSED, REJECTED_EVENTS, SENTENCES, Reason

UTC = timezone.utc
DUCKDB = engine.connect()
GOOD = {
    "event_time": "2019-10-01 00:00:00 UTC",
    "event_type": "view",
    "product_id": "1003461",
    "category_id": "2053013555631882655",
    "category_code": "electronics.smartphone",
    "brand": "xiaomi",
    "price": "489.07",
    "user_id": "520088904",
    "user_session": "4d3b30da-a5e4-49df-b1a8-ba5943f1dd33",
}
RAW = json.dumps(GOOD).encode()
KAFKA_ROWS = "value binary, topic string, partition int, offset bigint"


def as_message(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def without(name: str) -> bytes:
    return json.dumps({column: text for column, text in GOOD.items() if column != name}).encode()


def parse(values: Sequence[bytes | None]) -> list[dict[str, Any]]:
    rows = [(value, "shop-events", 3, offset) for offset, value in enumerate(values)]
    columns = (pa.binary(), pa.string(), pa.int32(), pa.int64())
    arrays = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), columns, strict=True)]
    batch = pa.record_batch(arrays, ["value", "topic", "partition", "offset"])
    return engine.run_sql(DUCKDB, PARSE_MESSAGES, messages=parsing.message_table([batch])).to_pylist()


def parse_lines(lines: Iterable[Sequence[str] | None], raw: str = "a line") -> list[dict[str, Any]]:
    texts = list(lines)
    columns = zip(*(line or (None,) * len(EVENT_COLUMNS) for line in texts), strict=True)
    table = pa.table(
        {
            "value": pa.repeat(raw, len(texts)),
            "has_nine_fields": pa.array([line is not None for line in texts]),
            "source_file": pa.repeat("month.csv", len(texts)),
            "source_line": pa.array(range(2, len(texts) + 2), pa.int64()),
            **{name: pa.array(column, pa.string()) for name, column in zip(EVENT_COLUMNS, columns, strict=True)},
        }
    )
    return engine.run_sql(DUCKDB, PARSE_LINES, lines=table).to_pylist()


def parsed(**changes: Any) -> dict[str, Any]:
    [row] = parse([as_message(**changes)])
    return row


def test_a_message_becomes_an_event_with_types_and_coordinates() -> None:
    assert parse([None, RAW])[1] == {
        "event_time": datetime(2019, 10, 1, tzinfo=UTC),
        "event_type": "view",
        "product_id": 1003461,
        "category_id": 2053013555631882655,
        "category_code": "electronics.smartphone",
        "brand": "xiaomi",
        "price": 489.07,
        "user_id": 520088904,
        "user_session": "4d3b30da-a5e4-49df-b1a8-ba5943f1dd33",
        "event_date": date(2019, 10, 1),
        "source_topic": "shop-events",
        "source_partition": 3,
        "source_offset": 1,
        "source_file": None,
        "source_line": None,
        "value": None,
        "reason": None,
    }


def test_a_line_becomes_the_same_event_with_its_file_and_line() -> None:
    [event] = parse_lines([list(GOOD.values())])
    where_from = {"source_topic": None, "source_partition": None, "source_offset": None}
    assert event == {**parse([RAW])[0], **where_from, "source_file": "month.csv", "source_line": 2}


REJECTED_MESSAGES = [
    (Reason.EMPTY_MESSAGE, [None]),
    (
        Reason.NOT_UTF8,
        [
            b"\xff\xfe",
            json.dumps({**GOOD, "brand": "nestlé"}, ensure_ascii=False).encode("latin-1"),
            RAW.replace(b"xiaomi", b"\xed\xa0\x80"),  # half a pair of surrogates
            RAW.decode().encode("utf-16"),
        ],
    ),
    (Reason.TOO_LONG, [b"x" * 2_000_000, as_message(brand="x" * 2_000_000), b"[" * 65_537]),
    (
        Reason.NOT_A_JSON_OBJECT,
        [
            b"",
            b" ",
            b"\x00",
            b"hello",
            b"null",
            b"5",
            b'"text"',
            b"[" + RAW + b"]",
            RAW[:-5],
            RAW + b"x",
            RAW + RAW,
            b"\xef\xbb\xbf" + RAW,
            RAW.replace(b"xiaomi", b"a\x00b"),  # a bare NUL inside a text; an escaped one is fine
            RAW.replace(b"xiaomi", rb"\ud800"),
            RAW.replace(b'"', b"'"),
        ],
    ),
    (Reason.EVENT_TIME_MISSING, [b"{}", without("event_time"), *(as_message(event_time=v) for v in ("", "  ", None))]),
    (
        Reason.EVENT_TIME_MALFORMED,
        [
            as_message(event_time=value)
            for value in (
                "2019-10-01",
                "2019-10-01 00:00",
                "2019-10-01 00:00:00 CET",
                "2019-10-01 00:00:00 UTC\n",
                "2019-10-01 00:00:00.1234567 UTC",
                "01.10.2019 00:00:00",
                "2019-02-29 00:00:00 UTC",
                "2019-13-01 00:00:00 UTC",
                "2019-10-01 25:00:00 UTC",
                "2019-10-01 00:00:00+25:00",
                "2019-10-01 00:00:00+05:60",
                "２019-10-01 00:00:00 UTC",
                "0000-01-01 00:00:00 UTC",
                "9999-12-31 23:59:59 UTC",
                "1569888000",
                1569888000,
                True,
                ["2019-10-01 00:00:00 UTC"],
                {"at": "2019-10-01 00:00:00 UTC"},
            )
        ],
    ),
    (Reason.EVENT_TYPE_MISSING, [without("event_type"), *(as_message(event_type=v) for v in ("", " ", None))]),
    (
        Reason.EVENT_TYPE_MALFORMED,
        [
            as_message(event_type=v)
            for v in ("View", "add to cart", "vue-é", "1st", "x" * 33, 7, True, False, "true", ["view"], {"a": 1})
        ],
    ),
    (Reason.PRODUCT_ID_MISSING, [without("product_id"), *(as_message(product_id=v) for v in ("", " ", None))]),
    (Reason.USER_ID_MISSING, [without("user_id"), *(as_message(user_id=v) for v in ("", " ", None))]),
    *(
        (Reason(f"{name}_malformed"), [as_message(**{name: value}) for value in values])
        for values in [
            (
                "abc",
                "1,000",
                "1 000",
                "0x1F",
                "١٢",
                "12\t",
                "--1",
                "nan",
                "9223372036854775808",
                "-9223372036854775809",
                9223372036854775808,
                18446744073709551616,
                10**30,
                True,
                [1],
                {"id": 1},
            )
        ]
        for name in ("product_id", "user_id", "category_id")
    ),
    *(
        (Reason(f"{name}_damaged_by_float"), [as_message(**{name: value}) for value in values])
        for values in [("2.10381E+18", "1487580005268456192.0", "1.", ".5", 2.10381e18, 1487580005268456192.0, 1.5)]
        for name in ("product_id", "user_id", "category_id")
    ),
    (
        Reason.PRICE_MALFORMED,
        [as_message(price=v) for v in ("-0.01", -1, "12 USD", "1,5", "nan", "inf", "1e999", ".", True, [5], {"eur": 5})]
        + [RAW.replace(b'"489.07"', b"NaN"), RAW.replace(b'"489.07"', b"1e999")],
    ),
    (
        Reason.TEXT_MALFORMED,
        [
            as_message(**{name: value})
            for name in ("brand", "category_code", "user_session")
            for value in (["x"], [], {"name": "x"}, {})
        ],
    ),
]


@pytest.mark.parametrize(("reason", "messages"), REJECTED_MESSAGES, ids=lambda value: getattr(value, "value", ""))
def test_what_is_no_event_is_rejected_with_its_reason_and_its_text(
    reason: Reason, messages: list[bytes | None]
) -> None:
    rows = parse(messages)
    assert [(row["reason"], message) for row, message in zip(rows, messages, strict=True)] == [
        (reason.value, message) for message in messages
    ]
    for row, message in zip(rows, messages, strict=True):
        assert row["value"] == (None if message is None else message.decode("utf-8", "backslashreplace"))


def test_a_line_that_has_not_nine_fields_is_rejected_with_its_text() -> None:
    [row] = parse_lines([None], raw="2019-10-01 02:50:00 UTC,view,12,34,a.b,apple,1.0,5411")
    assert (row["reason"], row["value"]) == (
        Reason.NOT_NINE_FIELDS.value,
        "2019-10-01 02:50:00 UTC,view,12,34,a.b,apple,1.0,5411",
    )


def test_every_reason_can_be_reached_and_has_a_sentence() -> None:
    reached = {reason for reason, _ in REJECTED_MESSAGES} | {Reason.NOT_NINE_FIELDS}
    assert reached == set(Reason) == set(SENTENCES)
    assert all(sentence.endswith(".") for sentence in SENTENCES.values())


def test_a_bad_message_spoils_none_of_its_neighbours() -> None:
    bad = [messages[0] for _, messages in REJECTED_MESSAGES]
    rows = parse([value for message in bad for value in (message, RAW)])
    assert [row["reason"] for row in rows[1::2]] == [None] * len(bad)
    assert [row["reason"] for row in rows[::2]] == [reason.value for reason, _ in REJECTED_MESSAGES]
    assert [row["source_offset"] for row in rows] == list(range(2 * len(bad)))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2019-10-01 00:00:00 UTC", datetime(2019, 10, 1)),
        ("2021-01-14 22:09:05+00:00", datetime(2021, 1, 14, 22, 9, 5)),
        ("2021-01-14 22:09:05-00:00", datetime(2021, 1, 14, 22, 9, 5)),
        ("2021-01-14T22:09:05Z", datetime(2021, 1, 14, 22, 9, 5)),
        ("2021-01-14 22:09:05", datetime(2021, 1, 14, 22, 9, 5)),
        (" 2021-01-14 22:09:05 UTC ", datetime(2021, 1, 14, 22, 9, 5)),
        ("2021-01-14 22:09:05.123456 UTC", datetime(2021, 1, 14, 22, 9, 5, 123456)),
        ("2021-01-14 22:09:05+05:30", datetime(2021, 1, 14, 16, 39, 5)),
        ("2021-01-14 22:09:05-0200", datetime(2021, 1, 15, 0, 9, 5)),
        ("2020-02-29 00:00:00 UTC", datetime(2020, 2, 29)),
    ],
)
def test_times_in_both_forms_and_with_offsets_are_utc(text: str, instant: datetime) -> None:
    event = parsed(event_time=text)
    assert (event["event_time"], event["event_date"]) == (instant.replace(tzinfo=UTC), instant.date())


@pytest.mark.parametrize("name", ["product_id", "user_id", "category_id"])
def test_ids_are_exact_64_bit_integers(name: str) -> None:
    numbers = [0, 7, -7, 1487580005268456287, 2**53 + 1, 2**63 - 1, -(2**63)]
    for number in numbers:
        assert parsed(**{name: str(number)})[name] == parsed(**{name: number})[name] == number
    assert parsed(**{name: " 0042 "})[name] == 42


@pytest.mark.parametrize("price", ["543.10", "17.4", "0.00", "0.0", "0", "1e3", "5.", ".5", "+5", " 5 ", "1e300"])
def test_prices_as_the_shops_write_them(price: str) -> None:
    assert parsed(price=price)["price"] == float(price)


@pytest.mark.parametrize("price", [543.1, 0, 17, 1e300])
def test_a_price_as_a_number_is_the_same_as_its_text(price: float) -> None:
    assert parsed(price=price) == parsed(price=json.dumps(price))


@pytest.mark.parametrize("event_type", ["view", "cart", "remove_from_cart", "purchase", "collect", "x" * 32])
def test_event_types_are_an_open_vocabulary(event_type: str) -> None:
    assert parsed(event_type=event_type)["event_type"] == event_type


def test_what_may_be_empty_is_null() -> None:
    optional = ("category_id", "category_code", "brand", "price", "user_session")
    for nothing in ("", None):
        event = parsed(**dict.fromkeys(optional, nothing))
        assert [event[name] for name in (*optional, "reason")] == [None] * 6
    [event] = parse([json.dumps({name: text for name, text in GOOD.items() if name not in optional}).encode()])
    assert [event[name] for name in (*optional, "reason")] == [None] * 6


@pytest.mark.parametrize(
    "text",
    [
        "Unknown",
        "p.i.t.",
        "hotpoint-ariston",
        "a\x00b",
        "l’oréal 😀 ёлочка 小米",
        'a "quoted", one\nin two lines\r\twith a tab',
        "\u2028\ufeff",
        "{no object",
        "[]",
        "null",
        "x" * 20_000,
    ],
)
def test_texts_are_kept_as_they_came(text: str) -> None:
    event = parsed(brand=text, category_code=text, user_session=text)
    assert [event[name] for name in ("brand", "category_code", "user_session", "reason")] == [text, text, text, None]
    assert parse([json.dumps({**GOOD, "brand": text}, ensure_ascii=False).encode()]) == [parsed(brand=text)]


def test_unknown_fields_order_and_blanks_do_not_matter() -> None:
    shuffled = {"warehouse": {"id": [1, 2]}, **dict(reversed(GOOD.items())), "note": None}
    values = [json.dumps(shuffled).encode(), b"\n\t " + json.dumps(GOOD, indent=2).encode() + b"\r\n"]
    assert [{**row, "source_offset": 0} for row in parse(values)] == parse([RAW]) * 2


# Any text, and texts that are nearly right: these lead through every branch of the rule.
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
PARTS = {
    "event_time": ["2019-10-01", " ", "T", "00:00:00", "24:00:00", ".5", " UTC", "Z", "+00:00", "-0230", "+9"],
    "event_type": ["view", "cart", "V", "_", "1", " ", "é"],
    "product_id": ["1", "0", "-", "+", ".", "e5", "9223372036854775807", " ", "²"],
    "price": ["1", "0", "-", "+", ".", "e5", "E400", ",", " ", "nan", "inf"],
}
PARTS |= {"user_id": PARTS["product_id"], "category_id": PARTS["product_id"]}


def nearly_right(name: str) -> st.SearchStrategy[str]:
    parts = st.lists(st.sampled_from(PARTS.get(name, ["{", "[", "}", '"', "unknown", "\\", "\n", " "])), max_size=4)
    return st.just(GOOD[name]) | parts.map("".join) | ANY_TEXT


NINE_TEXTS = st.tuples(*map(nearly_right, EVENT_COLUMNS))


@settings(max_examples=60, deadline=None)
@given(st.lists(NINE_TEXTS, min_size=1, max_size=20))
@example([tuple(GOOD.values())])
def test_the_same_nine_texts_are_judged_alike_in_a_message_and_in_a_line(rows: list[tuple[str, ...]]) -> None:
    def judged(row: dict[str, Any]) -> list[Any]:
        return [row[name] for name in (*EVENT_COLUMNS, "event_date", "reason")]

    messages = parse([json.dumps(dict(zip(EVENT_COLUMNS, row, strict=True))).encode() for row in rows])
    # As text, since prices that are no number are not equal to themselves.
    assert repr(list(map(judged, messages))) == repr(list(map(judged, parse_lines(rows))))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.binary(max_size=40)
        | st.recursive(
            st.none() | ANY_TEXT | st.floats() | st.integers(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(EVENT_COLUMNS), inner),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
        min_size=1,
        max_size=20,
    )
)
def test_no_message_whatever_ends_the_stream(messages: list[bytes]) -> None:
    rows = parse(messages)
    assert [row["source_offset"] for row in rows] == list(range(len(messages)))
    assert {row["reason"] for row in rows} <= {reason.value for reason in Reason} | {None}


REAL_FILES = [
    # name, events, rejected, event types beside view
    ("rees46-multi-2019-10-01.csv", 17_434, {Reason.NOT_NINE_FIELDS: 1}, {"cart", "purchase"}),
    ("rees46-electronics-26days.csv", 851, {}, {"cart", "purchase"}),
    ("rees46-electronics-unsorted-raw.csv", 851, {}, {"cart", "purchase"}),
    ("rees46-cosmetics-5months.csv", 4_995, {}, {"cart", "purchase", "remove_from_cart"}),
    ("tmall-61users-6months.csv.gz", 9_465, {}, {"purchase", "collect"}),
]


def parse_real_file(path: Path) -> list[dict[str, Any]]:
    return parse_lines(record.fields for record in read_records(path))


@pytest.mark.parametrize(("name", "events", "rejected", "event_types"), REAL_FILES)
def test_real_files_are_parsed_to_the_row(
    real_file: Callable[[str], Path], name: str, events: int, rejected: dict[Reason, int], event_types: set[str]
) -> None:
    rows = parse_real_file(real_file(name))
    good = [row for row in rows if row["reason"] is None]
    assert len(good) == events
    assert Counter(row["reason"] for row in rows if row["reason"]) == {r.value: n for r, n in rejected.items()}
    assert {row["event_type"] for row in good} == {"view"} | event_types


def test_the_two_exports_of_the_electronics_shop_hold_the_same_events(real_file: Callable[[str], Path]) -> None:
    def events(name: str) -> Counter[tuple[Any, ...]]:
        columns = ("event_time", "event_type", "product_id", "category_id", "price", "user_id", "user_session")
        return Counter(tuple(row[column] for column in columns) for row in parse_real_file(real_file(name)))

    ours, raw = events("rees46-electronics-26days.csv"), events("rees46-electronics-unsorted-raw.csv")
    assert ours == raw
    assert all(user_id > 10**18 for *_, user_id, _ in ours)


def test_a_file_in_ranges_is_parsed_line_by_line_as_it_is_read(tmp_path: Path) -> None:
    odd = ["", "no event", '"two\nlines"', ",".join(GOOD.values()).replace("489.07", "cheap"), ",,,,,,,,"]
    lines = [*[",".join(GOOD.values())] * 500, *odd] * 3
    path = tmp_path / "month.csv"
    path.write_text("\n".join([",".join(EVENT_COLUMNS), *lines]))
    records = list(read_records(path))
    expected = [
        {**row, "source_line": record.line, "value": row["reason"] and record.raw}
        for row, record in zip(parse_lines(record.fields for record in records), records, strict=True)
    ]
    ranges = plan_ranges(path, size=50_000)
    assert len(ranges) > 2
    assert [row for part in ranges for batch in parse_range(part) for row in batch.to_pylist()] == expected


def test_events_and_rejected_keep_their_contracts(spark: SparkSession) -> None:
    values = [RAW, None, as_message(brand="a\x00😀", user_id=2**63 - 1), b"\xff", as_message(event_time="soon")]
    rows = [(value, "shop-events", 0, offset) for offset, value in enumerate(values)]
    messages = spark.createDataFrame(rows, KAFKA_ROWS).coalesce(1)
    assert parse_messages(messages).schema == spark.createDataFrame([], PARSED).schema
    [(rejected, events)] = divide_messages(iter(messages.toArrow().to_batches()), {})
    expected = [tuple(row[name] for name in spark.createDataFrame([], EVENTS).columns) for row in parse(values[:3:2])]
    expected = [(*row[:11], 0, offset, *row[13:]) for row, offset in zip(expected, (0, 2), strict=True)]
    assert_df_equality(spark.createDataFrame(events), spark.createDataFrame(expected, EVENTS))
    assert spark.createDataFrame(rejected).schema == spark.createDataFrame([], REJECTED_EVENTS).schema
    assert {(row["value"], row["reason"], row["source_offset"]) for row in rejected.to_pylist()} == {
        (None, Reason.EMPTY_MESSAGE.value, 1),
        (r"\xff", Reason.NOT_UTF8.value, 3),
        (as_message(event_time="soon").decode(), Reason.EVENT_TIME_MALFORMED.value, 4),
    }
