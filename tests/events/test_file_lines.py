"""Event files as tables: whatever is in them, the same records as one by one."""

import gzip
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_spark.errors import EventFileError
from lambda_spark.events import file_lines
from lambda_spark.events.event_files import FileRange, Record, plan_ranges, read_records, whole_file
from lambda_spark.events.file_lines import read_lines
from lambda_spark.schemas import EVENT_COLUMNS

HEADER = ",".join(EVENT_COLUMNS).encode()
ROW = b"2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde"
FIELDS = [
    *(
        b"",
        b'"x"',
        b'"a,b"',
        b'"a\nb"',
        b'"a\r\nb"',
        b'"a""b"',
        b'""',
        b'x"y',
        b'"open',
        b'close"',
        b'"',
        b' "x"',
        b'"x" ',
    ),
    *(b"a\rb", b'"\r"', b"\n", b"\x00", b"\xff", b"\xe2\x82", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"z" * 3_000),
    "ü\u2028\x85\x0b\x1c資".encode(),
]
LINES = [b"", b" ", b"\r", b'"', b"no event", b",,,,,,,,", b"\xef\xbb\xbf" + ROW, HEADER, ROW + b",tenth", ROW[:-20]]


def with_field(field: bytes, position: int) -> bytes:
    fields = ROW.split(b",")
    return b",".join([*fields[:position], field, *fields[position + 1 :]])


dirty_lines = st.sampled_from(LINES) | st.builds(with_field, st.sampled_from(FIELDS), st.integers(0, 8))
# Long clean stretches, in which ranges and blocks may end, between dirty ones.
stretches = st.lists(dirty_lines, max_size=6) | st.integers(0, 250).map(lambda number: [ROW] * number)
contents = st.builds(
    lambda bom, header, stretches, line_end, last: bom + line_end.join([header, *chain(*stretches)]) + last,
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    header=st.sampled_from([HEADER, b",".join(reversed(HEADER.split(b",")))]),
    stretches=st.lists(stretches, max_size=8),
    line_end=st.sampled_from([b"\n", b"\r\n"]),
    last=st.sampled_from([b"", b"\n", b"\r\n", b"\r", b'\n"', b"\n\n"]),
)


def lines_of(ranges: Iterable[FileRange]) -> list[Record]:
    rows = [row for part in ranges for table in read_lines(part) for row in table.to_pylist()]
    for row in rows:
        texts = [row[column] for column in EVENT_COLUMNS]
        row["fields"] = texts if row["has_nine_fields"] else None
        assert row["has_nine_fields"] or texts == [None] * 9
    return [Record(row["source_line"], row["fields"], row["value"]) for row in rows]


@settings(max_examples=150, deadline=None)
@given(contents, st.sampled_from([1_000, 20_000]), st.sampled_from([(2_000, 300), (20_000, 2_000), (1 << 20, 1 << 16)]))
def test_tables_hold_the_same_records_as_the_careful_reader_finds(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, range_size: int, sizes: tuple[int, int]
) -> None:
    plain = tmp_path_factory.getbasetemp() / "dirty.csv"
    packed = tmp_path_factory.getbasetemp() / "dirty.csv.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    records = list(read_records(plain))
    with patch.multiple(file_lines, _BLOCK_BYTES=sizes[0], _PIECE_BYTES=sizes[1]):
        assert lines_of([whole_file(plain)]) == records
        assert lines_of(plan_ranges(plain, range_size)) == records
        assert lines_of([whole_file(packed)]) == records


def rows(number: int, change: Callable[[bytes], bytes] = bytes) -> list[bytes]:
    return [change(ROW) for _ in range(number)]


@pytest.mark.parametrize(
    "lines",
    [
        rows(1_000),
        rows(1_000, lambda row: row + b"\r"),
        rows(1_000, lambda row: b'"' + row.replace(b",", b'","') + b'"'),
        rows(1_000, lambda row: row.replace(b"shiseido", "資生堂 \u2028".encode())),
    ],
    ids=["plain", "with carriage returns", "all quoted", "in other letters"],
)
def test_what_files_usually_hold_is_never_read_record_by_record(
    tmp_path: Path, lines: Sequence[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "usual.csv"
    path.write_bytes(b"\n".join([HEADER, *lines]))
    expected = list(read_records(path))
    monkeypatch.delattr(file_lines, "records_of")
    assert lines_of([whole_file(path)]) == expected


def test_one_bad_line_slows_down_its_neighbourhood_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "spoilt.csv"
    path.write_bytes(b"\n".join([HEADER, *rows(9_000), b'"never closed', *rows(9_000)]))
    expected, careful = list(read_records(path)), []
    one_by_one = file_lines.records_of
    monkeypatch.setattr(file_lines, "records_of", lambda *args: (careful.append(r) or r for r in one_by_one(*args)))
    assert lines_of([whole_file(path)]) == expected
    assert len(careful) < 1_000


def test_a_damaged_gzip_file_gives_what_it_holds_and_then_says_so(tmp_path: Path) -> None:
    packed = gzip.compress(b"\n".join([HEADER, *(with_field(b"%d" % number, 5) for number in range(300_000))]))
    path = tmp_path / "damaged.csv.gz"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    tables = read_lines(whole_file(path))
    assert next(tables)["source_line"][0].as_py() == 2
    with pytest.raises(EventFileError, match=r"Cannot read .*damaged\.csv\.gz to its end"):
        list(tables)


@pytest.mark.parametrize(
    "name",
    [
        "rees46-multi-2019-10-01.csv",
        "rees46-electronics-26days.csv",
        "rees46-cosmetics-5months.csv",
        "tmall-61users-6months.csv.gz",
    ],
)
def test_real_files_give_the_same_records(real_file: Callable[[str], Path], name: str) -> None:
    path = real_file(name)
    assert lines_of(plan_ranges(path, size=100_000)) == list(read_records(path))
