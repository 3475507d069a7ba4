"""How often a client may ask: so many times in a second, wherever the second begins."""

from collections import Counter


class RateLimit:
    """Counts each client's requests in this second and in the one before, which counts as far as it is in the last one.

    Libraries for this start a thread a hundred times a second to forget what is old, which took a seventh of the time
    of an answer; here all of a second is forgotten at once.
    """

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self._second = 0
        self._before: Counter[str] = Counter()
        self._counted: Counter[str] = Counter()

    def allows(self, client: str, now: float) -> bool:
        """Say whether the client may ask now, in seconds of a clock that never goes back; if so, that is counted."""
        second = int(now)
        if second != self._second:
            self._before = self._counted if second == self._second + 1 else Counter()
            self._second, self._counted = second, Counter()
        weighted = self._before[client] * (1 - now % 1) + self._counted[client]
        if weighted + 1 > self.per_second:
            return False
        self._counted[client] += 1
        return True
