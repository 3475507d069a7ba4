"""What a streaming query's checkpoint says of the topic: which offsets each micro-batch reached."""

import json

from lambda_spark.storage import file_names, read_file

# The next offset of each partition of the one topic that a query reads.
Offsets = dict[int, int]


def checkpoint_of(table: str, query: str) -> str:
    """Return where a query that writes the table keeps its checkpoint: VACUUM passes over names that begin with _."""
    return f"{table}/_checkpoints/{query}"


def first_offsets(checkpoint: str) -> Offsets:
    """Return where the query began to read; nothing where it has not begun."""
    return _read_offsets(f"{checkpoint}/sources/0/0")


def read_topic(checkpoint: str) -> str | None:
    """Return the topic that the query reads; None where it has not begun."""
    return next(iter(_read_topics(f"{checkpoint}/sources/0/0")), None)


def reached_offsets(checkpoint: str) -> Offsets:
    """Return where the last completed micro-batch ended; nothing where there is none."""
    completed = [int(name) for name in file_names(f"{checkpoint}/commits") if name.isdigit()]
    return batch_offsets(checkpoint, max(completed)) if completed else {}


def batch_offsets(checkpoint: str, batch_id: int) -> Offsets:
    """Return where a micro-batch ends; the first one begins at the first offsets."""
    return _read_offsets(f"{checkpoint}/offsets/{batch_id}") if batch_id >= 0 else first_offsets(checkpoint)


def count_between(start: Offsets, end: Offsets) -> int:
    """Return the number of messages from `start` up to but not with `end`; partitions may have come since."""
    return sum(offset - start.get(partition, 0) for partition, offset in end.items())


def received_count(checkpoint: str) -> int:
    """Return how many messages the query has taken in since it first began."""
    return count_between(first_offsets(checkpoint), reached_offsets(checkpoint))


def _read_offsets(file: str) -> Offsets:
    partitions: dict[str, int] = next(iter(_read_topics(file).values()), {})
    return {int(partition): offset for partition, offset in partitions.items()}


def _read_topics(file: str) -> dict[str, dict[str, int]]:
    """Return the offsets by topic; nothing where there is no file."""
    content = read_file(file)
    if content is None:
        return {}
    last_line = content.decode().strip().splitlines()[-1]
    topics: dict[str, dict[str, int]] = json.loads(last_line[last_line.index("{") :])
    return topics
