"""The rate limit holds for any second and for each client separately."""

import pytest

from lambda_spark.api.middleware import RateLimit


def allowed(limit: RateLimit, moment: float, client: str = "a") -> int:
    """Return how many of 100 requests at a moment are allowed."""
    return sum(limit.allows(client, moment) for _ in range(100))


def test_the_limit_is_allowed_at_once_and_again_as_time_passes() -> None:
    limit = RateLimit(10)
    assert [allowed(limit, at) for at in (7.9, 7.99, 8.0)] == [10, 0, 0]
    # By then half of those before are more than a second ago, if they came evenly.
    assert allowed(limit, 8.5) == 5
    assert allowed(limit, 10.0) == 10


def test_each_client_has_its_own_limit() -> None:
    limit = RateLimit(3)
    assert [allowed(limit, 1.0, client) for client in ("a", "b")] == [3, 3]


@pytest.mark.parametrize("pause", [0.003, 0.05, 0.2])
def test_a_steady_client_reaches_the_limit(pause: float) -> None:
    limit = RateLimit(10)
    passed = [at for at in (number * pause for number in range(int(20 / pause))) if limit.allows("a", at)]
    assert len(passed) == pytest.approx(20 * min(10, 1 / pause), rel=0.12)
