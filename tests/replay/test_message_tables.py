"""Messages as tables: the same messages, for the same partitions, as one by one."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2

from lambda_spark.errors import EventFileError
from lambda_spark.events.event_files import read_records, whole_file
from lambda_spark.replay.messages import (
    Message,
    PartitionShare,
    key_partitions,
    message_of,
    partition_of,
    read_messages,
)
from lambda_spark.schemas import EVENT_COLUMNS

HEADER = ",".join(EVENT_COLUMNS)
ROW = "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde"
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=6)
LINES = st.builds(lambda brand, user: f"2019-10-01 00:00:00 UTC,view,1,2,,{brand},1.0,{user},s", TEXTS, TEXTS) | TEXTS


def messages_of(path: Path, share: PartitionShare) -> list[Message]:
    tables = [table for table, _ in read_messages(whole_file(path), share)]
    names = ("line", "partition", "key", "value")
    return [Message(*(row[name] for name in names)) for table in tables for row in table.to_pylist()]


def one_by_one(path: Path, partitions: int) -> list[Message]:
    return [message_of(record, partition_of(record, partitions)) for record in read_records(path)]


def write(path: Path, lines: Iterable[str]) -> Path:
    path.write_bytes("\n".join([HEADER, *lines]).encode())
    return path


@given(st.lists(st.binary(max_size=20) | st.integers().map(lambda number: b"%d" % number)), st.integers(1, 300))
@example([b"", b"541312140", b"\xff\x80\x7f\xfe"], 7)
def test_a_key_gets_the_partition_that_kafka_chooses(keys: list[bytes], partitions: int) -> None:
    expected = [(murmur2(key) & 0x7FFFFFFF) % partitions for key in keys]
    assert key_partitions(pa.array(keys, pa.binary()), partitions).tolist() == expected
    assert key_partitions(pa.array([b"x", *keys], pa.binary())[1:], partitions).tolist() == expected


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=30), st.integers(1, 5))
@example(['2019,view,1,2,"two\nlines",back\\slash,"""quoted""",5,\x01\x1f\x7f\t', "no event", "", "ü\u2028,,,,,,,,"], 3)
def test_the_table_has_the_messages_of_the_records(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], partitions: int
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "any.csv", lines)
    expected = one_by_one(path, partitions)
    assert messages_of(path, PartitionShare(partitions, dict.fromkeys(range(partitions), 0), 1_000_000)) == expected


def test_shares_are_disjoint_and_skip_messages_in_the_topic(tmp_path: Path) -> None:
    rows = [ROW.replace("541312140", str(user)) for user in range(1_000)]
    path = write(tmp_path / "many.csv", [*rows, "no event", *rows])
    expected = one_by_one(path, 4)
    last_lines = {0: 0, 1: 500, 2: 1_002, 3: 9_999}
    for own in ({0, 2}, {1, 3}):
        share = PartitionShare(4, {partition: last_lines[partition] for partition in own}, 1_000_000)
        wanted = [m for m in expected if m.partition in own]
        new = [m for m in wanted if m.line > last_lines[m.partition]]
        assert messages_of(path, share) == new
        assert sum(skipped for _, skipped in read_messages(whole_file(path), share)) == len(wanted) - len(new)


def test_a_message_too_large_for_the_topic_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "long.csv", [ROW, "x" * 50_000, ROW])
    share = PartitionShare(1, {0: 0}, 100_000)
    assert messages_of(path, share) == one_by_one(path, 1)
    with pytest.raises(EventFileError, match=r"Line 3 of long\.csv has 50,000 bytes.*max\.message\.bytes"):
        messages_of(path, share._replace(max_bytes=40_000))
