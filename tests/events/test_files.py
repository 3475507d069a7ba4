"""Event files as people have them: every oddity gives the right records or one clear sentence."""

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_spark.errors import EventFileError
from lambda_spark.events.event_files import Record, count_data_lines, file_id, find_event_files, read_records
from lambda_spark.schemas import EVENT_COLUMNS

HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
ROW = "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde"
SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
# Python 3.10 cannot read a NUL inside quotes: there such a record counts as one without nine fields.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


def write(folder: Path, content: str | bytes, name: str = "events.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def records(folder: Path, content: str | bytes) -> list[Record]:
    return list(read_records(write(folder, content)))


def row_with(brand: str) -> str:
    return ROW.replace("shiseido", brand)


def fields_with(brand: str) -> list[str]:
    return [brand if field == "shiseido" else field for field in ROW.split(",")]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("last", [True, False], ids=["with final newline", "without"])
def test_a_record_is_its_line_and_its_nine_texts(tmp_path: Path, line_end: str, bom: str, last: bool) -> None:
    content = bom + line_end.join([HEADER, ROW, ROW]) + line_end * last
    assert records(tmp_path, content) == [Record(2, ROW.split(","), ROW), Record(3, ROW.split(","), ROW)]


def test_a_header_alone_is_a_file_without_records(tmp_path: Path) -> None:
    assert records(tmp_path, HEADER) == []


def test_an_empty_line_is_no_record_but_counts_as_a_line(tmp_path: Path) -> None:
    found = records(tmp_path, f"{HEADER}\n\n{ROW}\r\n\r\n \n{ROW}\n")
    assert [(record.line, record.fields is None) for record in found] == [(3, False), (5, True), (6, False)]


def test_a_record_without_nine_fields_keeps_its_text(tmp_path: Path) -> None:
    cut_off = "2019-10-01 02:50:00 UTC,view,10900305,2053013555069845885,appliances,elenberg,25.71,52040330"
    found = records(tmp_path, f"{HEADER}\r\n{ROW},tenth\r\nno event\r\n{cut_off}")
    assert found == [Record(2, None, ROW + ",tenth"), Record(3, None, "no event"), Record(4, None, cut_off)]


@pytest.mark.parametrize(
    ("written", "brand"),
    [
        ('"shiseido, japan"', "shiseido, japan"),
        ('"27"" monitors"', '27" monitors'),
        ('"two\nlines"', "two\nlines"),
        ('"two\r\nlines"', "two\r\nlines"),
        ('""', ""),
        ('27" monitors', '27" monitors'),
        (' "spaced"', ' "spaced"'),
        ("müller-čapek 資生堂", "müller-čapek 資生堂"),
        ("nul\0byte", "nul\0byte"),
    ],
)
def test_brands_of_every_kind_come_out_as_meant(tmp_path: Path, written: str, brand: str) -> None:
    found = records(tmp_path, f"{HEADER}\n{row_with(written)}\n{ROW}\n")
    assert [record.fields for record in found] == [fields_with(brand), ROW.split(",")]
    assert found[0].raw == row_with(written)
    assert found[1].line == 3 + brand.count("\n")


def test_bytes_that_are_no_utf8_are_replaced_and_the_file_goes_on(tmp_path: Path) -> None:
    found = records(tmp_path, f"{HEADER}\n{row_with('nestl')}".encode() + b"\n" + row_with("lancôme").encode("latin-1"))
    assert [record.fields for record in found] == [fields_with("nestl"), fields_with("lanc\ufffdme")]


@pytest.mark.parametrize("lines_after", [0, 3, 250])
def test_a_quote_that_never_closes_costs_only_its_own_line(tmp_path: Path, lines_after: int) -> None:
    stray = row_with('"shiseido')
    found = records(tmp_path, "\n".join([HEADER, stray, *[ROW] * lines_after]))
    assert found[0] == Record(2, None, stray)
    assert found[1:] == [Record(line, ROW.split(","), ROW) for line in range(3, 3 + lines_after)]


def test_two_stray_quotes_do_not_swallow_the_lines_between_them(tmp_path: Path) -> None:
    stray = row_with('"shiseido')
    found = records(tmp_path, "\n".join([HEADER, stray, ROW, stray, row_with('"a\nb"'), ROW]))
    assert [(record.line, record.fields is None) for record in found] == [
        (2, True), (3, False), (4, True), (5, False), (7, False),
    ]  # fmt: skip


def test_text_after_a_closing_quote_is_not_guessed_at(tmp_path: Path) -> None:
    odd = row_with('"shi"seido')
    assert records(tmp_path, f"{HEADER}\n{odd}") == [Record(2, None, odd)]


@given(st.lists(st.lists(TEXTS, min_size=9, max_size=9)))
def test_whatever_a_csv_writer_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([list(EVENT_COLUMNS), *rows])
    path = write(tmp_path_factory.getbasetemp(), text.getvalue(), "written.csv")
    assert [record.fields for record in read_records(path)] == rows


def test_columns_in_another_order_are_brought_into_ours(tmp_path: Path) -> None:
    content = "\n".join(",".join(reversed(line.split(","))) for line in [HEADER.upper(), ROW])
    assert records(tmp_path, content)[0].fields == ROW.split(",")


def test_a_gzip_file_is_read_like_the_plain_one(tmp_path: Path) -> None:
    plain = write(tmp_path, "\n".join([HEADER, ROW, row_with('"two\nlines"')]))
    packed = write(tmp_path, gzip.compress(plain.read_bytes()), "events.csv.gz")
    assert list(read_records(packed)) == list(read_records(plain))
    assert count_data_lines(packed) == count_data_lines(plain) == 3


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty: its first line must be event_time,event_type"),
        (f"{ROW}\n{ROW}", "has no header line, it starts with '2019-10-01 00:00:00 UTC,view"),
        (HEADER.replace("brand", "marke"), "missing: brand; unexpected: 'marke'"),
        (HEADER.replace(",price", ""), "missing: price; unexpected: none"),
        (HEADER + ",brand", "missing: none; unexpected: 'brand'"),
        (b"PK\x03\x04\xff\xfe\x00", "has no header line"),
    ],
)
def test_a_header_that_is_not_ours_is_explained(tmp_path: Path, content: str | bytes, sentence: str) -> None:
    with pytest.raises(EventFileError) as error:
        records(tmp_path, content)
    assert sentence in str(error.value)
    assert "events.csv" in str(error.value)


def test_a_gzip_file_that_is_cut_off_gives_what_it_holds_and_then_says_so(tmp_path: Path) -> None:
    packed = gzip.compress("\n".join([HEADER, *(row_with(str(number)) for number in range(20_000))]).encode())
    path = write(tmp_path, packed[: len(packed) // 2], "events.csv.gz")
    seen: list[int] = []
    with pytest.raises(EventFileError, match=r"Cannot read .*events\.csv\.gz to its end"):
        seen.extend(record.line for record in read_records(path))
    with pytest.raises(EventFileError, match=r"Cannot read"):
        count_data_lines(path)


def test_files_and_folders_are_found_in_order_and_once(tmp_path: Path) -> None:
    for name in ["b.csv", "a.csv.gz", "notes.txt", "C.CSV"]:
        write(tmp_path, HEADER, name)
    by_name = [tmp_path / "C.CSV", tmp_path / "a.csv.gz", tmp_path / "b.csv"]
    assert find_event_files([tmp_path]) == by_name
    assert find_event_files([tmp_path / "notes.txt", tmp_path / "b.csv", tmp_path]) == [
        tmp_path / "notes.txt", tmp_path / "b.csv", *by_name[:2],
    ]  # fmt: skip


def test_a_missing_file_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(EventFileError, match=r"no event file .*2019-Nov\.csv: name a csv"):
        find_event_files([tmp_path / "2019-Nov.csv"])
    with pytest.raises(EventFileError, match=r"folder .* holds no csv or csv\.gz file"):
        find_event_files([tmp_path])
    with pytest.raises(EventFileError, match="Cannot read"):
        file_id(tmp_path / "gone.csv")


def test_a_file_is_known_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    one, same = write(tmp_path, f"{HEADER}\n{ROW}", "one.csv"), write(tmp_path, f"{HEADER}\n{ROW}", "same.csv")
    other = write(tmp_path, f"{HEADER}\n{ROW}\n", "other.csv")
    assert file_id(one) == file_id(same) != file_id(other)
    assert len(file_id(one)) == 16


@pytest.mark.parametrize(
    ("name", "count", "broken_lines"),
    [
        ("rees46-multi-2019-10-01.csv", 17_435, [17_436]),
        ("rees46-electronics-26days.csv", 851, []),
        ("rees46-electronics-unsorted-raw.csv", 851, []),
        ("rees46-cosmetics-5months.csv", 4_995, []),
        ("tmall-61users-6months.csv.gz", 9_465, []),
    ],
)
def test_real_files_give_a_record_per_line(name: str, count: int, broken_lines: list[int]) -> None:
    path = SHARED_DATA / name
    if not path.exists():
        pytest.skip(f"needs the real events in {path.name} (../shared/data)")
    found = list(read_records(path))
    assert len(found) == count == count_data_lines(path)
    assert [record.line for record in found if record.fields is None] == broken_lines
