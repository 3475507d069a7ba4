"""A broker that is away while a stream runs: Spark waits for it without a word, so the stream says so, once."""

import logging
import time
from collections.abc import Callable

from lambda_spark.kafka_security import is_listening
from lambda_spark.kafka_settings import KafkaSettings

_LOOK_SECONDS = 3

_log = logging.getLogger(__name__)


def outage_teller(kafka: KafkaSettings) -> Callable[[], None]:
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
