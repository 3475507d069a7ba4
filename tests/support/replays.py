"""Event files to replay, the replay job as a process, and the messages in the topic."""

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from helpers import PATIENCE
from kafka import KafkaConsumer, TopicPartition

from lambda_spark.events.event_files import file_id, read_records
from lambda_spark.kafka.client import message_count
from lambda_spark.schemas import EVENT_COLUMNS
from lambda_spark.settings import PROJECT_ROOT, KafkaSettings

HEADER = ",".join(EVENT_COLUMNS)
ODD_LINES = [
    "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,72d76fde",
    "no event at all",
    '2019-10-01 00:00:01 UTC,cart,1,2,,"two\nlines, ""quoted""",1.0,541312141,müller',
    "",
    "2019-10-01 00:00:02 UTC,view,1,2,c,b,1.0,,",
    'never closed,"x,,,,,,,',
    "2019-10-01 00:00:03 UTC,view,10900305,2053013555069845885,appliances,elenberg,25.71,52040330",
]


def write(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join([HEADER, *lines]))
    return path


def event(number: int, user: int = 1, at: str = "2019-10-01 00:00:00 UTC") -> str:
    return f"{at},view,{number},2,,brand,1.00,{user},session"


def messages(kafka: KafkaSettings) -> list[Any]:
    """Return all messages of the topic, by partition and offset."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest")
    partitions = [TopicPartition(kafka.topic, number) for number in consumer.partitions_for_topic(kafka.topic)]
    consumer.assign(partitions)
    end = consumer.end_offsets(partitions)
    found = []
    while any(consumer.position(partition) < end[partition] for partition in partitions):
        found += [message for polled in consumer.poll(1_000).values() for message in polled]
    consumer.close()
    return sorted(found, key=lambda message: (message.partition, message.offset))


def lines_sent(kafka: KafkaSettings, file: Path) -> list[int]:
    """Return the file's lines that are in the topic, sorted; fails if a partition has them in another order."""
    by_partition, wanted = defaultdict(list), file_id(file).encode()
    for message in messages(kafka):
        headers = dict(message.headers)
        if headers["file_id"] == wanted:
            by_partition[message.partition].append(int(headers["line"]))
    for lines in by_partition.values():
        assert lines == sorted(lines)
    return sorted(line for lines in by_partition.values() for line in lines)


def lines_of(file: Path) -> list[int]:
    return [record.line for record in read_records(file)]


def job(kafka: KafkaSettings, *arguments: str | Path) -> list[str]:
    options = ["--bootstrap-servers", kafka.bootstrap_servers, "--topic", kafka.topic]
    return [sys.executable, str(PROJECT_ROOT / "jobs" / "replay_events.py"), *map(str, arguments), *options]


def run_job(kafka: KafkaSettings, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(job(kafka, *arguments), check=False, capture_output=True, text=True, timeout=PATIENCE)


@contextmanager
def half_done(kafka: KafkaSettings, *arguments: str | Path) -> Iterator["subprocess.Popen[str]"]:
    """Run the job, and enter the block once the topic has some of its messages."""
    before = message_count(kafka)
    process = subprocess.Popen(job(kafka, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while message_count(kafka) == before:
            assert process.poll() is None
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.communicate()
