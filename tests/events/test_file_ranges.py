"""Ranges of an event file: they cover it once, and no record goes across their ends."""

import gzip
from pathlib import Path

import pytest

from lambda_spark.errors import EventFileError
from lambda_spark.events.event_files import FileRange, plan_ranges, whole_file
from lambda_spark.schemas import EVENT_COLUMNS

HEADER = ",".join(EVENT_COLUMNS)
ROW = "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde"


def write(folder: Path, lines: list[str], line_end: str = "\n") -> Path:
    path = folder / "events.csv"
    path.write_bytes(line_end.join([HEADER, *lines]).encode())
    return path


def text_of(part: FileRange) -> bytes:
    return part.path.read_bytes()[part.start : part.end]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_ranges_are_the_whole_file_in_pieces_of_whole_lines(tmp_path: Path, line_end: str) -> None:
    path = write(tmp_path, [ROW] * 5_000, line_end)
    ranges = plan_ranges(path, size=100_000)
    assert 4 <= len(ranges) <= 6
    assert b"".join(map(text_of, ranges)) == text_of(whole_file(path))
    assert [text_of(part)[-1:] for part in ranges[:-1]] == [b"\n"] * (len(ranges) - 1)
    lines = 2
    for part in ranges:
        assert part.line == lines
        lines += text_of(part).count(b"\n")
    assert plan_ranges(path) == [ranges[0]._replace(end=ranges[-1].end)]


def test_a_range_never_starts_where_a_record_from_above_could_go_on(tmp_path: Path) -> None:
    open_quote = ROW.replace("shiseido", '"shiseido')
    lines = [open_quote if number in (300, 350, 700) else ROW for number in range(1_500)]
    starts = {part.line for part in plan_ranges(write(tmp_path, lines), size=1)}
    quoted = {2 + number for number in (300, 350, 700)}
    assert len(starts) > 5
    assert not any(start - line in range(1, 100) for start in starts for line in quoted)


def test_a_file_with_quotes_all_over_or_packed_stays_whole(tmp_path: Path) -> None:
    path = write(tmp_path, [ROW.replace("shiseido", '"shiseido"')] * 500)
    assert len(plan_ranges(path, size=1_000)) == 1
    packed = tmp_path / "events.csv.gz"
    packed.write_bytes(gzip.compress(write(tmp_path, [ROW] * 500).read_bytes()))
    assert plan_ranges(packed, size=1_000) == [whole_file(packed)]


def test_a_header_alone_is_one_empty_range(tmp_path: Path) -> None:
    (part,) = plan_ranges(write(tmp_path, []))
    assert text_of(part) == b""


def test_a_range_knows_the_columns_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "turned.csv"
    path.write_text("\ufeff" + ",".join(reversed(EVENT_COLUMNS)).upper() + "\r\n" + ROW)
    assert whole_file(path).columns == tuple(reversed(EVENT_COLUMNS))
    assert text_of(whole_file(path)) == ROW.encode()


def test_a_wrong_header_and_a_missing_file_are_explained(tmp_path: Path) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(ROW)
    with pytest.raises(EventFileError, match="has no header line"):
        plan_ranges(path)
    with pytest.raises(EventFileError, match="Cannot read"):
        plan_ranges(tmp_path / "gone.csv")
