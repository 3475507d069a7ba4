"""The topic without Spark: is the broker there, make and measure the topic, write into it, keep one's place in it.

A broker that is away while a stream runs: Spark waits for it without a word, so the stream says so, once.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError, KafkaTimeoutError, RetriableError, TopicAlreadyExistsError

from lambda_spark.errors import BrokerError
from lambda_spark.kafka.security import client_options, is_listening, refusal, tls_failure
from lambda_spark.settings import KafkaSettings

# Events keep their place whatever their age; and a line of a file may be long before ingest rejects it.
_TOPIC_CONFIG = {"retention.ms": "-1", "max.message.bytes": str(16 * 1024 * 1024)}
_CONNECT_MS = 3_000
_TRIES, _RETRY_SECONDS = 300, 0.1
Result = TypeVar("Result")
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


def check_broker(kafka: KafkaSettings) -> None:
    """Raise BrokerError where no Kafka broker answers within a few seconds."""
    with open_admin(kafka):
        pass


def check_topic(kafka: KafkaSettings) -> None:
    """Raise BrokerError where no Kafka broker answers, or it has no such topic."""
    with open_admin(kafka) as admin:
        _find_topic(admin, kafka)


def ensure_topic(kafka: KafkaSettings) -> Topic:
    """Return the topic, made with the settings' partitions where there is none; an existing one stays as it is.

    Raises BrokerError.
    """
    with open_admin(kafka) as admin:
        with suppress(TopicAlreadyExistsError):
            wanted = {"num_partitions": kafka.partitions, "configs": _TOPIC_CONFIG}
            admin.create_topics({kafka.topic: wanted}, wait_for_metadata=True)
        return _find_topic(admin, kafka)


def delete_topic(kafka: KafkaSettings) -> None:
    """Delete the topic and what is in it. Raises BrokerError."""
    with open_admin(kafka) as admin:
        admin.delete_topics([kafka.topic])


def read_content(kafka: KafkaSettings) -> TopicContent:
    """Return what the topic has. Raises BrokerError where no Kafka broker answers, or it has no such topic."""
    with open_admin(kafka) as admin:
        found = _find_topic(admin, kafka)
        first, end = (
            admin.list_partition_offsets({TopicPartition(kafka.topic, n): spec for n in range(found.partitions)})
            for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        )
        return TopicContent(found, *({part.partition: at.offset for part, at in of.items()} for of in (first, end)))


def message_count(kafka: KafkaSettings) -> int:
    """Return the number of messages in the topic. Raises BrokerError."""
    content = read_content(kafka)
    return sum(content.end.values()) - sum(content.first.values())


def open_producer(kafka: KafkaSettings, topic: Topic) -> AbstractContextManager[KafkaProducer]:
    """Open an idempotent producer: what it is given for a partition arrives there once and in order.

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
    """Open a consumer that reads what it is assigned. Raises BrokerError, also for a KafkaError inside the block."""
    return _open(
        KafkaConsumer,
        kafka,
        close=KafkaConsumer.close,
        auto_offset_reset="earliest",
        metrics_enabled=False,
    )


def open_admin(kafka: KafkaSettings) -> AbstractContextManager[KafkaAdminClient]:
    """Open what makes topics and looks after groups. Raises BrokerError, also for a KafkaError inside the block."""
    return _open(KafkaAdminClient, kafka, close=KafkaAdminClient.close)


def retried(action: Callable[[], Result]) -> Result:
    """Return what the action does, repeated where the broker asks for that, as it does at its first consumer group."""
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
            refusal(kafka)
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
        # Its thread would go on trying, and send late what somebody else may have sent by then.
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


_LOOK_SECONDS = 3
_log = logging.getLogger(__name__)


def broker_monitor(kafka: KafkaSettings) -> Callable[[], None]:
    """Return what looks for the broker now and then, and tells when it goes and when it comes back: call it often."""
    is_away, looked_at = False, time.monotonic()

    def look() -> None:
        nonlocal is_away, looked_at
        if time.monotonic() < looked_at + _LOOK_SECONDS:
            return
        was_away, is_away = is_away, not is_listening(kafka)
        looked_at = time.monotonic()
        if is_away and not was_away:
            _log.warning("No Kafka broker answers at %s: waiting until one does.", kafka.bootstrap_servers)
        if was_away and not is_away:
            _log.warning("The Kafka broker at %s is back: going on.", kafka.bootstrap_servers)

    return look
