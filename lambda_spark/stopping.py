"""Ending cleanly: Ctrl-C and SIGTERM become a flag that long work looks at between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event


@contextmanager
def stop_requested() -> Iterator[Event]:
    """Yield an event that the first Ctrl-C or SIGTERM inside the block sets; a second one ends the process as usual."""
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
