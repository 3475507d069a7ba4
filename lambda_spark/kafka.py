"""The topic without Spark: is the broker there, make and measure the topic, write into it, keep one's place in it."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError, KafkaTimeoutError, RetriableError, TopicAlreadyExistsError

from lambda_spark.errors import BrokerError

# Events keep their place whatever their age; and a line of a file may be long before ingest rejects it.
_TOPIC_CONFIG = {"retention.ms": "-1", "max.message.bytes": str(16 * 1024 * 1024)}
_CONNECT_MS = 3_000
_TRIES, _RETRY_SECONDS = 300, 0.1

Result = TypeVar("Result")

# What the clients log about a broker that is away, a BrokerError says in one sentence.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


class Topic(NamedTuple):
    """A topic as it is; `id` is another one when the topic has been made anew under its name."""

    name: str
    id: str
    partitions: int
    max_message_bytes: int


class TopicContent(NamedTuple):
    """A topic, and the offsets from which and up to but not with which it has messages, by partition."""

    topic: Topic
    first: dict[int, int]
    end: dict[int, int]


def check_broker(bootstrap_servers: str) -> None:
    """Raise BrokerError where no Kafka broker answers within a few seconds."""
    with open_admin(bootstrap_servers):
        pass


def check_topic(bootstrap_servers: str, topic: str) -> None:
    """Raise BrokerError where no Kafka broker answers, or it has no such topic."""
    with open_admin(bootstrap_servers) as admin:
        _find_topic(admin, bootstrap_servers, topic)


def ensure_topic(bootstrap_servers: str, topic: str, partitions: int) -> Topic:
    """Return the topic, made with that many partitions where there is none; an existing one stays as it is.

    Raises BrokerError.
    """
    with open_admin(bootstrap_servers) as admin:
        with suppress(TopicAlreadyExistsError):
            wanted = {"num_partitions": partitions, "configs": _TOPIC_CONFIG}
            admin.create_topics({topic: wanted}, wait_for_metadata=True)
        return _find_topic(admin, bootstrap_servers, topic)


def delete_topic(bootstrap_servers: str, topic: str) -> None:
    """Delete the topic and what is in it. Raises BrokerError."""
    with open_admin(bootstrap_servers) as admin:
        admin.delete_topics([topic])


def read_content(bootstrap_servers: str, topic: str) -> TopicContent:
    """Return what the topic has. Raises BrokerError where no Kafka broker answers, or it has no such topic."""
    with open_admin(bootstrap_servers) as admin:
        found = _find_topic(admin, bootstrap_servers, topic)
        first, end = (
            admin.list_partition_offsets({TopicPartition(topic, number): spec for number in range(found.partitions)})
            for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        )
        return TopicContent(found, *({part.partition: at.offset for part, at in of.items()} for of in (first, end)))


def message_count(bootstrap_servers: str, topic: str) -> int:
    """Return the number of messages in the topic. Raises BrokerError."""
    content = read_content(bootstrap_servers, topic)
    return sum(content.end.values()) - sum(content.first.values())


def open_producer(bootstrap_servers: str, topic: Topic) -> AbstractContextManager[KafkaProducer]:
    """Open an idempotent producer: what it is given for a partition arrives there once and in order.

    It sends when it is flushed or a batch is full. Raises BrokerError, also for a KafkaError inside the block.
    """
    return _open(
        KafkaProducer,
        bootstrap_servers,
        close=_close_producer,
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        batch_size=1_000_000,
        linger_ms=1_000,
        max_request_size=topic.max_message_bytes,
        metrics_enabled=False,
    )


def open_consumer(bootstrap_servers: str) -> AbstractContextManager[KafkaConsumer]:
    """Open a consumer that reads what it is assigned. Raises BrokerError, also for a KafkaError inside the block."""
    return _open(
        KafkaConsumer,
        bootstrap_servers,
        close=KafkaConsumer.close,
        auto_offset_reset="earliest",
        metrics_enabled=False,
    )


def open_admin(bootstrap_servers: str) -> AbstractContextManager[KafkaAdminClient]:
    """Open what makes topics and looks after groups. Raises BrokerError, also for a KafkaError inside the block."""
    return _open(KafkaAdminClient, bootstrap_servers, close=KafkaAdminClient.close)


def retried(action: Callable[[], Result]) -> Result:
    """Return what the action does, repeated where the broker asks for that, as it does at its first consumer group."""
    for _ in range(_TRIES):
        with suppress(RetriableError):
            return action()
        time.sleep(_RETRY_SECONDS)
    return action()


@contextmanager
def _open(client: Any, bootstrap_servers: str, close: Callable[[Any], None], **options: Any) -> Iterator[Any]:
    try:
        connection = client(bootstrap_servers=bootstrap_servers, bootstrap_timeout_ms=_CONNECT_MS, **options)
    except (KafkaError, ValueError) as error:
        raise BrokerError(
            f"No Kafka broker answers at {bootstrap_servers}: start one with `make broker`, "
            "or name yours with --bootstrap-servers."
        ) from error
    try:
        yield connection
    except KafkaError as error:
        raise BrokerError(
            f"The Kafka broker at {bootstrap_servers} could not do it ({error}): "
            "see that it runs, then repeat the command."
        ) from error
    finally:
        with suppress(KafkaError):
            close(connection)


def _close_producer(producer: KafkaProducer) -> None:
    try:
        producer.close(timeout=1)
    except KafkaTimeoutError:
        # Its thread would go on trying, and send late what somebody else may have sent by then.
        producer._sender.force_close()
        producer.close(timeout=1)


def _find_topic(admin: KafkaAdminClient, bootstrap_servers: str, topic: str) -> Topic:
    (found,) = admin.describe_topics([topic])
    if not found["partitions"]:
        raise BrokerError(
            f"There is no topic {topic} at {bootstrap_servers}: replay events into it with jobs/replay_events.py, "
            "or name another with --topic."
        )
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, ["max.message.bytes"])
    config = admin.describe_configs([resource], config_filter="all")["topic"][topic]
    limit = int(config["max.message.bytes"]["value"])
    return Topic(topic, str(found["topic_id"]), len(found["partitions"]), limit)
