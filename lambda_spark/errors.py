"""What ends a job early: a user's mistake, named with its value and the remedy, or a request to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event


class LambdaSparkError(Exception):
    """Base of all errors that are shown to the user as one sentence, without a stack trace."""


class SettingsError(LambdaSparkError):
    """Raised when a setting or an option has a value that cannot be used."""


class EventFileError(LambdaSparkError):
    """Raised when an event file is missing, unreadable, or has not the nine columns."""


class TimeRangeError(LambdaSparkError):
    """Raised when a requested time range is reversed, uneven, or outside the data."""


class BrokerError(LambdaSparkError):
    """Raised when Kafka cannot be reached, started, or has not the topic."""


class StreamError(LambdaSparkError):
    """Raised when a stream must not start on its checkpoint, or must end: it would lose or repeat messages."""


class OvertakenError(LambdaSparkError):
    """Raised when another run has stored a later state of a view, which an earlier one must not replace."""


class SetUpError(LambdaSparkError):
    """Raised when Java or a jar is missing."""


class NotComputedError(LambdaSparkError):
    """Raised when a table that is needed does not exist yet."""


class TooSlowError(LambdaSparkError):
    """Raised when an answer took longer than it may, and was given up."""


class UnknownUserError(LambdaSparkError):
    """Raised when recommendations are asked for a user that no event names."""


class UnknownProductError(LambdaSparkError):
    """Raised when a product is asked for that no event names."""


@contextmanager
def stop_requested() -> Iterator[Event]:
    """Yield an event that the first Ctrl-C or SIGTERM inside the block sets; a second one ends the process at once."""
    requested = Event()

    def request(*_: object) -> None:
        requested.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        restore()
