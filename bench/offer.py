"""`python -m bench.offer`: sends 1,000 events a second of known users to a topic, with the present as event time."""

import argparse
import json
import random
import time
from datetime import datetime, timezone
from itertools import count
from typing import Any

from kafka import KafkaProducer

from bench.testbed import known_user_ids

RATE = 1_000
_BRANDS = 500
_LINGER_MS = 5
# Events due within a tick are sent together: waking up for each would take a tenth of the machine.
_TICK_SECONDS = 0.01


def make_event(number: int, user_id: int, now: datetime) -> dict[str, str]:
    """Return an event at that time, to the microsecond."""
    return {
        "event_time": f"{now:%Y-%m-%d %H:%M:%S.%f} UTC",
        "event_type": "view",
        "product_id": str(10_000_000 + number % 3_000),
        "category_id": "2053013555631882655",
        "category_code": "electronics.smartphone",
        "brand": f"brand-{number % _BRANDS:03}",
        "price": "199.90",
        "user_id": str(user_id),
        "user_session": f"00000000-0000-4000-8000-{number:012}",
    }


def offer(producer: Any, topic: str, users: range) -> None:
    """Send 1,000 events a second until the process is stopped."""
    chance, began_at = random.Random(7), time.monotonic()
    for number in count():
        if (wait := began_at + number / RATE - time.monotonic()) > 0:
            time.sleep(max(wait, _TICK_SECONDS))
        event = make_event(number, chance.choice(users), datetime.now(timezone.utc))
        producer.send(topic, json.dumps(event).encode(), event["user_id"].encode())


def main() -> None:
    """Parse the options and send."""
    options = argparse.ArgumentParser(prog="python -m bench.offer", description=__doc__)
    options.add_argument("--bootstrap-servers", required=True)
    options.add_argument("--topic", required=True)
    options.add_argument("--users", type=int, required=True)
    args = options.parse_args()
    producer = KafkaProducer(bootstrap_servers=args.bootstrap_servers, linger_ms=_LINGER_MS)
    offer(producer, args.topic, known_user_ids(args.users))


if __name__ == "__main__":
    main()
