"""What a streaming query's checkpoint says of the topic: which offsets each micro-batch reached."""

import json

from lambda_spark.delta import tables
from lambda_spark.delta.coverage import count_between
from lambda_spark.delta.storage import file_names, move_aside, read_file, write_file
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS
from lambda_spark.schemas import Offsets

# Files of our own beside Spark's: messages taken in before the checkpoint was made, those that were lost unread, and
# which of all topics of its name it is.
_BEFORE, _LOST, _TOPIC_ID = "received-before", "lost-messages", "topic-id"


def checkpoint_of(table: str, query: str) -> str:
    """Return the checkpoint's path of a query that writes the table: VACUUM skips names that begin with _."""
    return f"{table}/_checkpoints/{query}"


def first_offsets(checkpoint: str) -> Offsets:
    """Return the offsets at which the query began; none if it has not begun."""
    return _read_offsets(f"{checkpoint}/sources/0/0")


def read_topic(checkpoint: str) -> str | None:
    """Return the topic that the query reads; None if it has not begun."""
    return next(iter(_read_topics(f"{checkpoint}/sources/0/0")), None)


def read_topic_id(checkpoint: str) -> str | None:
    """Return the id of the topic, which changes if it is created again; None if it was not kept."""
    content = read_file(f"{checkpoint}/{_TOPIC_ID}")
    return None if content is None else content.decode()


def write_topic_id(checkpoint: str, topic_id: str) -> None:
    """Keep the id of the topic that the query reads."""
    write_file(f"{checkpoint}/{_TOPIC_ID}", topic_id.encode())


def reached_offsets(checkpoint: str) -> Offsets:
    """Return the end offsets of the last completed micro-batch; none if there is none."""
    completed = [int(name) for name in file_names(f"{checkpoint}/commits") if name.isdigit()]
    return batch_offsets(checkpoint, max(completed)) if completed else {}


def batch_offsets(checkpoint: str, batch_id: int) -> Offsets:
    """Return the end offsets of a micro-batch; the first one begins at the first offsets."""
    return _read_offsets(f"{checkpoint}/offsets/{batch_id}") if batch_id >= 0 else first_offsets(checkpoint)


def received_count(checkpoint: str) -> int:
    """Return how many messages the query has taken in since it first began."""
    return received_upto(checkpoint, reached_offsets(checkpoint) or first_offsets(checkpoint))


def received_upto(checkpoint: str, reached: Offsets) -> int:
    """Return how many messages the query has taken in by the time it reaches the offsets: what was lost is none."""
    before = int(read_file(f"{checkpoint}/{_BEFORE}") or b"0")
    lost = sum(max(0, min(end, reached.get(number, 0)) - start) for number, start, end in _losses(checkpoint))
    return before + count_between(first_offsets(checkpoint), reached) - lost


def record_loss(checkpoint: str, reached: Offsets, first: Offsets) -> None:
    """Record the messages that the topic lost before they were read: from the reached offsets to the first left."""
    kept = {(number, start): end for number, start, end in _losses(checkpoint)}
    # A query that is started again before it went on has lost the same ones, and perhaps more.
    kept |= {(number, start): first[number] for number, start in reached.items() if start < first[number]}
    losses = [[number, start, end] for (number, start), end in sorted(kept.items())]
    write_file(f"{checkpoint}/{_LOST}", json.dumps(losses).encode())


def create_checkpoint(checkpoint: str, topic: str, start: Offsets, received: int) -> None:
    """Replace the checkpoint by a new one, of a query that begins at the offsets.

    `received` is the number of messages that count as taken in before. The present one, if any, is kept beside it.
    """
    move_aside(checkpoint)
    write_file(f"{checkpoint}/{_BEFORE}", str(received).encode())
    # As Spark's Kafka source writes it; with this the new one is complete.
    write_file(f"{checkpoint}/sources/0/0", b"\0v1\n" + json.dumps({topic: start}).encode())


def _losses(checkpoint: str) -> list[tuple[int, int, int]]:
    """Return partition, first offset, and the one after the last, of each stretch that was lost."""
    return [tuple(loss) for loss in json.loads(read_file(f"{checkpoint}/{_LOST}") or b"[]")]


def _read_offsets(file: str) -> Offsets:
    partitions: dict[str, int] = next(iter(_read_topics(file).values()), {})
    return {int(partition): offset for partition, offset in partitions.items()}


def _read_topics(file: str) -> dict[str, dict[str, int]]:
    """Return the offsets by topic; none if there is no file."""
    content = read_file(file)
    if content is None:
        return {}
    last_line = content.decode().strip().splitlines()[-1]
    topics: dict[str, dict[str, int]] = json.loads(last_line[last_line.index("{") :])
    return topics


def ingest_checkpoint(root: str) -> str:
    """Return the path of ingest's checkpoint."""
    return checkpoint_of(tables.path_of(root, EVENTS), "ingest")


def speed_checkpoint(root: str) -> str:
    """Return the path of the speed layer's checkpoint, which holds its state."""
    return checkpoint_of(tables.path_of(root, RECENT_BRANDS), "speed")
