"""quixstreams: a stateful update per message, its state in RocksDB with a changelog topic, at least once."""

from argparse import Namespace

from common import brand_of, progress, remember, run, write_answer
from confluent_kafka import Consumer, TopicPartition
from quixstreams import Application, State, message_context


def ends(args: Namespace) -> dict[int, int]:
    """Return the last offset of each partition that is not empty."""
    consumer = Consumer({"bootstrap.servers": args.bootstrap_servers, "group.id": "ends"})
    partitions = consumer.list_topics(args.topic).topics[args.topic].partitions
    watermarks = {number: consumer.get_watermark_offsets(TopicPartition(args.topic, number)) for number in partitions}
    consumer.close()
    return {number: high - 1 for number, (_, high) in watermarks.items() if high}


def work(args: Namespace, worker: int) -> None:
    """Read what the consumer group assigns to this worker, until nothing has come for a while."""
    last, count = ends(args), progress(worker)
    users: dict[str, dict[str, str]] = {}

    def update(event: dict[str, str], state: State) -> None:
        if brand := brand_of(event["brand"]):
            brands = state.get("brands", {})
            remember(brands, brand, event["event_time"])
            state.set("brands", brands)
            users[event["user_id"]] = brands
        context = message_context()
        count(1)
        if last[context.partition] == context.offset:
            count(0)

    app = Application(
        broker_address=args.bootstrap_servers,
        consumer_group=args.scratch.name,
        auto_offset_reset="earliest",
        state_dir=args.scratch / f"state-{worker}",
        loglevel="ERROR",
    )
    app.dataframe(app.topic(args.topic, value_deserializer="json")).update(update, stateful=True)
    app.run(timeout=10.0)
    write_answer(args.scratch, users, worker)


if __name__ == "__main__":
    run(__doc__, work)
