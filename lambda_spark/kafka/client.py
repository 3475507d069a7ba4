"""Kafka without Spark: checks of the broker, creation and offsets of the topic, producers, consumers, admin clients."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError, KafkaTimeoutError, RetriableError, TopicAlreadyExistsError

from lambda_spark.errors import BrokerError
from lambda_spark.kafka.security import client_options, is_listening, refusal_reason, tls_failure
from lambda_spark.settings import KafkaSettings

# Events never expire; and a line of a file may be long before ingest rejects it.
_TOPIC_CONFIG = {"retention.ms": "-1", "max.message.bytes": str(16 * 1024 * 1024)}
_CONNECT_MS = 3_000
_CHECK_SECONDS = 3
_TRIES, _RETRY_SECONDS = 300, 0.1
T = TypeVar("T")
_log = logging.getLogger(__name__)
logging.getLogger("kafka").setLevel(logging.CRITICAL)


class Topic(NamedTuple):
    """A topic at the broker; one that was deleted and created again has another `id`."""

    name: str
    id: str
    partitions: int
    max_message_bytes: int


class TopicContent(NamedTuple):
    """A topic, and by partition the offset of its first message and the offset after its last one."""

    topic: Topic
    first: dict[int, int]
    end: dict[int, int]


def check_broker(kafka: KafkaSettings) -> None:
    """Raise BrokerError if no Kafka broker answers within a few seconds."""
    with open_admin(kafka):
        pass


def check_topic(kafka: KafkaSettings) -> None:
    """Raise BrokerError if no Kafka broker answers or it has no such topic."""
    with open_admin(kafka) as admin:
        _find_topic(admin, kafka)


def ensure_topic(kafka: KafkaSettings) -> Topic:
    """Return the topic; create it with the settings' partitions if it doesn't exist, else leave it as it is.

    Raises BrokerError.
    """
    with open_admin(kafka) as admin:
        with suppress(TopicAlreadyExistsError):
            wanted = {"num_partitions": kafka.partitions, "configs": _TOPIC_CONFIG}
            admin.create_topics({kafka.topic: wanted}, wait_for_metadata=True)
        return _find_topic(admin, kafka)


def delete_topic(kafka: KafkaSettings) -> None:
    """Delete the topic with its messages. Raises BrokerError."""
    with open_admin(kafka) as admin:
        admin.delete_topics([kafka.topic])


def read_content(kafka: KafkaSettings) -> TopicContent:
    """Return the topic with its offsets. Raises BrokerError if no Kafka broker answers or it has no such topic."""
    with open_admin(kafka) as admin:
        found = _find_topic(admin, kafka)
        first, end = (
            admin.list_partition_offsets({TopicPartition(kafka.topic, n): spec for n in range(found.partitions)})
            for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        )
        return TopicContent(found, *({part.partition: at.offset for part, at in of.items()} for of in (first, end)))


def message_count(kafka: KafkaSettings) -> int:
    """Return the number of offsets that the topic spans: its messages, unless it has gaps. Raises BrokerError."""
    content = read_content(kafka)
    return sum(content.end.values()) - sum(content.first.values())


def open_producer(kafka: KafkaSettings, topic: Topic) -> AbstractContextManager[KafkaProducer]:
    """Open an idempotent producer: the messages of a partition arrive once and in order.

    It sends when it is flushed or a batch is full. Raises BrokerError, also for a KafkaError inside the block.
    """
    return _open(
        KafkaProducer,
        kafka,
        close=_close_producer,
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        batch_size=1_000_000,
        linger_ms=1_000,
        max_request_size=topic.max_message_bytes,
        metrics_enabled=False,
    )


def open_consumer(kafka: KafkaSettings) -> AbstractContextManager[KafkaConsumer]:
    """Open a consumer without a group, to be assigned partitions.

    Raises BrokerError, also for a KafkaError inside the block.
    """
    return _open(
        KafkaConsumer,
        kafka,
        close=KafkaConsumer.close,
        auto_offset_reset="earliest",
        metrics_enabled=False,
    )


def open_admin(kafka: KafkaSettings) -> AbstractContextManager[KafkaAdminClient]:
    """Open a client for topics and consumer groups. Raises BrokerError, also for a KafkaError inside the block."""
    return _open(KafkaAdminClient, kafka, close=KafkaAdminClient.close)


def broker_monitor(kafka: KafkaSettings) -> Callable[[], None]:
    """Return a function to be called often: it checks the broker at intervals and logs when it goes and comes back.

    Without it a stream would wait for an absent broker in silence.
    """
    is_away, checked_at = False, time.monotonic()

    def check() -> None:
        nonlocal is_away, checked_at
        if time.monotonic() < checked_at + _CHECK_SECONDS:
            return
        was_away, is_away = is_away, not is_listening(kafka)
        checked_at = time.monotonic()
        if is_away and not was_away:
            _log.warning("No Kafka broker answers at %s: waiting until one does.", kafka.bootstrap_servers)
        if was_away and not is_away:
            _log.warning("The Kafka broker at %s is back: resuming.", kafka.bootstrap_servers)

    return check


def retry(action: Callable[[], T]) -> T:
    """Return the action's result; repeat it while the broker asks for that, as it does for its first consumer group.

    Own code because kafka-python's admin client doesn't retry requests about consumer groups.
    """
    for _ in range(_TRIES):
        with suppress(RetriableError):
            return action()
        time.sleep(_RETRY_SECONDS)
    return action()


@contextmanager
def _open(client: Any, kafka: KafkaSettings, close: Callable[[Any], None], **options: Any) -> Iterator[Any]:
    secured = client_options(kafka)
    if failure := tls_failure(kafka):
        raise BrokerError(failure)
    try:
        connection = client(bootstrap_timeout_ms=_CONNECT_MS, **secured, **options)
    except (KafkaError, ValueError) as error:
        raise BrokerError(
            refusal_reason(kafka)
            or f"No Kafka broker answers at {kafka.bootstrap_servers}: start one with `make broker`, "
            "or name yours with --bootstrap-servers."
        ) from error
    try:
        yield connection
    except KafkaError as error:
        raise BrokerError(
            f"The Kafka broker at {kafka.bootstrap_servers} could not do it ({error}): "
            "see that it runs, then repeat the command."
        ) from error
    finally:
        with suppress(KafkaError):
            close(connection)


def _close_producer(producer: KafkaProducer) -> None:
    try:
        producer.close(timeout=1)
    except KafkaTimeoutError:
        # Its thread would keep trying, and send messages that another replay may have sent by then.
        producer._sender.force_close()
        producer.close(timeout=1)


def _find_topic(admin: KafkaAdminClient, kafka: KafkaSettings) -> Topic:
    topic = kafka.topic
    (found,) = admin.describe_topics([topic])
    if not found["partitions"]:
        raise BrokerError(
            f"There is no topic {topic} at {kafka.bootstrap_servers}: replay events into it with "
            "jobs/replay_events.py, or name another with --topic."
        )
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, ["max.message.bytes"])
    config = admin.describe_configs([resource], config_filter="all")["topic"][topic]
    limit = int(config["max.message.bytes"]["value"])
    return Topic(topic, str(found["topic_id"]), len(found["partitions"]), limit)
