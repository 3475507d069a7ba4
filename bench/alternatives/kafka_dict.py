"""As the original system: a kafka-python consumer and a dict of OrderedDicts, newest brand last by arrival."""

import json
from argparse import Namespace
from collections import OrderedDict, defaultdict

from common import LIMIT, brand_of, progress, run, write_answer
from kafka import KafkaConsumer, TopicPartition


def work(args: Namespace, worker: int) -> None:
    """Read this worker's share of the partitions to their present end."""
    consumer = KafkaConsumer(bootstrap_servers=args.bootstrap_servers)
    numbers = sorted(consumer.partitions_for_topic(args.topic))
    partitions = [TopicPartition(args.topic, number) for number in numbers[worker :: args.workers]]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    left = sum(consumer.end_offsets(partitions).values())
    users: dict[str, OrderedDict[str, str]] = defaultdict(OrderedDict)
    count = progress(worker)
    while left:
        message = next(consumer)
        event = json.loads(message.value)
        if brand := brand_of(event["brand"]):
            brands = users[event["user_id"]]
            brands[brand] = event["event_time"]
            brands.move_to_end(brand)
            if len(brands) > LIMIT:
                brands.popitem(last=False)
        left -= 1
        count(1)
    count(0)
    write_answer(args.scratch, users, worker)


if __name__ == "__main__":
    run(__doc__, work)
