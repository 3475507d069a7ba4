"""What Spark's Python workers do once, before their first task."""

import gc
from functools import cache


@cache
def settle() -> None:
    """Keep what is loaded out of garbage collection, which Spark's workers run after each task.

    It would take 40 ms each time, and the next task waits for it: a small micro-batch has eight tasks.
    """
    gc.freeze()
