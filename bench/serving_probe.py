"""`python -m bench.serving_probe`: the time from sending an event until it is in its user's answer.

Runs the speed layer and the API with their defaults and a process that offers events. Beside these it sends marked
events, each of a known user with a new brand, and polls GET /v1/users/{id}/brands until the brand is there. The data
root and the topic are those of the settings. Prints a line of JSON.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from kafka import KafkaProducer

from bench.freshness import Sighting, figures, offer, probe_options
from bench.offer import make_event
from bench.process import BenchError, job
from bench.server import SERVE, ask, running_server
from bench.testbed import known_user_ids
from lambda_spark.local.processes import running_process
from lambda_spark.settings import load_settings
from lambda_spark.speed import checkpoints

# Marked events are sent at random moments, so that they hit every phase of a micro-batch.
_MEAN_PAUSE_SECONDS = 0.2
_POLL_SECONDS = 0.05
# Limits for the first event to be seen, and for the last one after the measured seconds.
_FIRST_SECONDS = 120
_LATE_SECONDS = 10

# Called with the event's number and its user.
Send = Callable[[int, int], None]


class Marked(NamedTuple):
    """A marked event: its user, its number, and when it was sent, in seconds since 1970."""

    user_id: int
    number: int
    sent_at: float


def main() -> None:
    """Parse the options, measure, and print the figures."""
    args = probe_options("bench.serving_probe", __doc__)
    settings, users = load_settings(), known_user_ids(args.users)
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)

    def send(number: int, user_id: int) -> None:
        event = {**make_event(number, user_id, datetime.now(timezone.utc)), "brand": brand_of(number)}
        producer.send(settings.kafka.topic, json.dumps(event).encode(), event["user_id"].encode())

    with (
        running_server([sys.executable, *SERVE], "/health/ready") as server,
        running_process(job("speed_stream")) as stream,
        running_process(offer(settings, args.users)),
    ):
        seen, unseen = follow(send, server.client(), users, stream, args.warm_up, args.seconds)
    found = figures(Path(checkpoints.speed_checkpoint(settings.data_root)), seen, args.seconds)
    print(json.dumps({**found, "seen_percent": 100 * len(seen) / (len(seen) + unseen)}))


def brand_of(number: int) -> str:
    """Return the brand of a marked event, which no other event on the topic has, of this run or an earlier one."""
    return f"marked {os.getpid()} {number}"


def follow(
    send: Send,
    client: HTTPConnection,
    users: range,
    stream: "subprocess.Popen[bytes]",
    warm_up: float,
    seconds: float,
) -> tuple[list[Sighting], int]:
    """Send marked events and poll for each until it is seen.

    Returns the events of the seconds after the warm-up that were seen, and the number of those that weren't. The
    warm-up starts with the first event seen. Raises BenchError if the stream ends.
    """
    chance = random.Random(7)
    numbers = iter(chance.sample(range(len(users)), min(len(users), 100_000)))
    waiting: list[Marked] = []
    sightings: list[Sighting] = []
    due, until = time.time(), time.time() + _FIRST_SECONDS
    while time.time() < until or (waiting and sightings and time.time() < until + _LATE_SECONDS):
        if stream.poll() is not None:
            raise BenchError(f"The speed layer has ended with {stream.returncode} while it was measured.")
        if due <= time.time() < until:
            number = next(numbers)
            waiting.append(Marked(users[number], number, time.time()))
            send(number, users[number])
            due = time.time() + chance.expovariate(1 / _MEAN_PAUSE_SECONDS)
        found = [marked for marked in waiting if is_seen(client, marked)]
        sightings += [Sighting(marked.sent_at, time.time()) for marked in found]
        waiting = [marked for marked in waiting if marked not in found]
        if sightings:
            until = sightings[0].seen_at + warm_up + seconds
        time.sleep(_POLL_SECONDS)
    counted = [sighting for sighting in sightings if until - seconds <= sighting.sent_at < until]
    return counted, sum(until - seconds <= marked.sent_at < until for marked in waiting)


def is_seen(client: HTTPConnection, marked: Marked) -> bool:
    """Return True if the brand of the event is in its user's answer. Raises BenchError for an unexpected status."""
    path = f"/v1/users/{marked.user_id}/brands"
    status, content = ask(client, path)
    if status == 404:  # a user without any brand yet
        return False
    if status != 200:
        raise BenchError(f"{path} was answered with {status}: {content[:200]!r}")
    return any(seen["brand"] == brand_of(marked.number) for seen in json.loads(content)["brands"])


if __name__ == "__main__":
    main()
