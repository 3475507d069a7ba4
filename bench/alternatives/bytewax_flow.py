"""bytewax: a stateful map by user, in memory, whose every list goes to a sink; recovery is off, as by default."""

import json
from argparse import Namespace

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.run import cli_main
from common import brand_of, progress, remember, run, write_answer

FIRST_PORT = 21_010

Brands = dict[str, str]


class Lists(DynamicSink[tuple[str, Brands]], StatelessSinkPartition[tuple[str, Brands]]):
    """Keeps each user's newest list."""

    def __init__(self) -> None:
        self.lists: dict[str, Brands] = {}

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "Lists":
        """Return itself: a process has one worker."""
        return self

    def write_batch(self, items: list[tuple[str, Brands]]) -> None:
        """Take the lists."""
        self.lists.update(items)


def work(args: Namespace, worker: int) -> None:
    """Run the flow over the topic to its end; bytewax distributes partitions and users to the workers."""
    flow, lists, count = Dataflow("recent-brands"), Lists(), progress(worker)

    def decode(message: KafkaSourceMessage[bytes, bytes]) -> tuple[str, tuple[str | None, str]]:
        event = json.loads(message.value)
        return event["user_id"], (brand_of(event["brand"]), event["event_time"])

    def update(brands: Brands | None, seen: tuple[str | None, str]) -> tuple[Brands, Brands]:
        brands = {} if brands is None else brands
        brand, seen_at = seen
        if brand:
            remember(brands, brand, seen_at)
        count(1)
        return brands, brands

    source = KafkaSource([args.bootstrap_servers], [args.topic], tail=False, batch_size=10_000)
    seen = op.map("decode", op.input("topic", flow, source), decode)
    op.output("lists", op.stateful_map("update", seen, update), lists)
    addresses = [f"127.0.0.1:{FIRST_PORT + number}" for number in range(args.workers)]
    if args.workers == 1:
        cli_main(flow)
    else:
        cli_main(flow, process_id=worker, addresses=addresses)
    count(0)
    write_answer(args.scratch, lists.lists, worker)


if __name__ == "__main__":
    run(__doc__, work)
