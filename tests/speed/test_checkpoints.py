"""What the files of a checkpoint say of the topic; the streams' own tests read real ones."""

from pathlib import Path

import pytest

from lambda_spark.delta.coverage import count_between
from lambda_spark.speed.checkpoints import batch_offsets, checkpoint_of, first_offsets, reached_offsets, received_count

WATERMARK = '{"batchWatermarkMs":0,"batchTimestampMs":1583064000000,"conf":{"spark.sql.shuffle.partitions":"2"}}'


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    """Write the files as Spark does: two batches completed, a third begun; a partition came with the second."""
    files = {
        "sources/0/0": '\0v1\n{"shop":{"0":3,"1":0}}',
        "offsets/0": f'v1\n{WATERMARK}\n{{"shop":{{"0":5,"1":4}}}}',
        "offsets/1": f'v1\n{WATERMARK}\n{{"shop":{{"0":5,"2":1,"1":9}}}}',
        "offsets/2": f'v1\n{WATERMARK}\n{{"shop":{{"0":50,"2":10,"1":90}}}}',
        "offsets/.2.crc": "crc",
        "commits/0": "v1\n{}",
        "commits/1": "v1\n{}",
        "commits/.1.crc": "crc",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return str(tmp_path)


def test_a_batch_that_has_no_commit_does_not_count(checkpoint: str) -> None:
    assert reached_offsets(checkpoint) == {0: 5, 1: 9, 2: 1}
    assert received_count(checkpoint) == 2 + 9 + 1


def test_each_batch_ends_where_the_next_begins_and_the_first_begins_where_the_topic_did(checkpoint: str) -> None:
    assert batch_offsets(checkpoint, -1) == first_offsets(checkpoint) == {0: 3, 1: 0}
    assert batch_offsets(checkpoint, 0) == {0: 5, 1: 4}
    assert count_between(batch_offsets(checkpoint, 0), batch_offsets(checkpoint, 1)) == 5 + 1


def test_a_query_that_has_not_begun_has_received_nothing(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    assert first_offsets(nowhere) == reached_offsets(nowhere) == {}
    assert received_count(nowhere) == 0


def test_a_checkpoint_lies_where_vacuum_does_not_look() -> None:
    assert checkpoint_of("s3a://shop/events", "ingest").startswith("s3a://shop/events/_")
