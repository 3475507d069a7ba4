"""What a streaming query's checkpoint says of the topic: which offsets each micro-batch reached."""

import json
from pathlib import Path

# The next offset of each partition of the one topic that a query reads.
Offsets = dict[int, int]


def checkpoint_of(table: str, query: str) -> Path:
    """Return where a query that writes the table keeps its checkpoint: VACUUM passes over names that begin with _."""
    return Path(table) / "_checkpoints" / query


def first_offsets(checkpoint: Path) -> Offsets:
    """Return where the query began to read; nothing where it has not begun."""
    return _read_offsets(checkpoint / "sources" / "0" / "0")


def reached_offsets(checkpoint: Path) -> Offsets:
    """Return where the last completed micro-batch ended; nothing where there is none."""
    completed = [int(file.name) for file in (checkpoint / "commits").glob("*") if file.name.isdigit()]
    return batch_offsets(checkpoint, max(completed)) if completed else {}


def batch_offsets(checkpoint: Path, batch_id: int) -> Offsets:
    """Return where a micro-batch ends; the first one begins at the first offsets."""
    return _read_offsets(checkpoint / "offsets" / str(batch_id)) if batch_id >= 0 else first_offsets(checkpoint)


def count_between(start: Offsets, end: Offsets) -> int:
    """Return the number of messages from `start` up to but not with `end`; partitions may have come since."""
    return sum(offset - start.get(partition, 0) for partition, offset in end.items())


def received_count(checkpoint: Path) -> int:
    """Return how many messages the query has taken in since it first began."""
    return count_between(first_offsets(checkpoint), reached_offsets(checkpoint))


def _read_offsets(file: Path) -> Offsets:
    if not file.exists():
        return {}
    last_line = file.read_bytes().decode().strip().splitlines()[-1]
    (partitions,) = json.loads(last_line[last_line.index("{") :]).values()
    return {int(partition): offset for partition, offset in partitions.items()}
