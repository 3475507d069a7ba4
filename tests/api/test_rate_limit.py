"""A client may ask so often in a second, wherever the second begins, and however others ask."""

import pytest

from lambda_spark.api.middleware import RateLimit


def allowed(limit: RateLimit, moment: float, client: str = "a") -> int:
    """Return how many of many requests at a moment are let through."""
    return sum(limit.allows(client, moment) for _ in range(100))


def test_so_many_pass_at_once_and_no_more_until_time_has_passed() -> None:
    limit = RateLimit(10)
    assert [allowed(limit, at) for at in (7.9, 7.99, 8.0)] == [10, 0, 0]
    # By then half of those before are more than a second ago, if they came evenly.
    assert allowed(limit, 8.5) == 5
    assert allowed(limit, 10.0) == 10


def test_clients_do_not_take_from_one_another() -> None:
    limit = RateLimit(3)
    assert [allowed(limit, 1.0, client) for client in ("a", "b")] == [3, 3]


@pytest.mark.parametrize("pause", [0.003, 0.05, 0.2])
def test_who_asks_evenly_is_answered_as_often_as_is_allowed(pause: float) -> None:
    limit = RateLimit(10)
    passed = [at for at in (number * pause for number in range(int(20 / pause))) if limit.allows("a", at)]
    assert len(passed) == pytest.approx(20 * min(10, 1 / pause), rel=0.12)
