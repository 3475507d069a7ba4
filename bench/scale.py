"""How large the measurements are: in full, or small enough for `make bench-quick`."""

from typing import NamedTuple


class Scale(NamedTuple):
    """The sizes; cases that take long have `long_repetitions`. `environment` is what it needs of other settings."""

    name: str
    events: int
    users: int
    repetitions: int
    long_repetitions: int
    known_users: tuple[int, ...]
    probe_warm_up_seconds: int
    probe_seconds: int
    growth_batches: int
    serving_users: tuple[int, ...]
    load_seconds: int
    batch_events: int
    batch_sizes: tuple[int, ...]
    pandas_days: int
    environment: dict[str, str]
    is_published: bool


FULL = Scale(
    name="full",
    events=2_000_000,
    users=100_000,
    repetitions=5,
    long_repetitions=3,
    known_users=(100_000, 700_000, 1_000_000, 4_000_000),
    probe_warm_up_seconds=30,
    probe_seconds=60,
    growth_batches=1_000,
    serving_users=(300_000, 3_000_000),
    load_seconds=20,
    batch_events=67_500_000,
    batch_sizes=(1_000_000, 10_000_000, 67_500_000),
    # As much of the month as 12 GB hold.
    pandas_days=7,
    environment={},
    is_published=True,
)
_SMALL_TRIGGER = "25000"
QUICK = Scale(
    name="quick",
    events=100_000,
    users=10_000,
    repetitions=1,
    long_repetitions=1,
    known_users=(10_000,),
    probe_warm_up_seconds=10,
    probe_seconds=10,
    growth_batches=10,
    serving_users=(10_000,),
    load_seconds=3,
    batch_events=1_000_000,
    batch_sizes=(100_000, 1_000_000),
    pandas_days=30,
    # So that there is more than one micro-batch.
    environment={
        "LAMBDA_SPEED__MAX_MESSAGES_PER_TRIGGER": _SMALL_TRIGGER,
        "LAMBDA_INGEST__MAX_MESSAGES_PER_TRIGGER": _SMALL_TRIGGER,
    },
    is_published=False,
)
