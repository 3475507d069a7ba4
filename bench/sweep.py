"""The speed layer's settings, one changed at a time: how fast it catches up, and what a small micro-batch costs."""

from functools import partial
from pathlib import Path

from bench.case import Case, Run, Table
from bench.freshness import COLUMNS, PACKAGES, Overrides, probe_run
from bench.stage import Stage
from bench.throughput import RATES, spark_run
from lambda_spark.speed import checkpoints


def _arrow(*sizes: int) -> tuple[str, ...]:
    return tuple(f"--conf spark.sql.execution.arrow.maxRecordsPerBatch={size} pyspark-shell" for size in sizes)


# What is changed -> the environment's variable and its values; those as shipped are in the first row.
_KNOBS = {
    "shards": ("LAMBDA_SPEED__SHARDS", ("4", "8", "16", "64", "128", "512")),
    "state partitions": ("LAMBDA_SPEED__STATE_PARTITIONS", ("1", "4", "8")),
    "messages a trigger": ("LAMBDA_SPEED__MAX_MESSAGES_PER_TRIGGER", ("100000", "250000", "500000", "2000000")),
    "rows an Arrow batch": (
        "PYSPARK_SUBMIT_ARGS",
        _arrow(10_000, 200_000),
    ),
}
_PARTITIONS = (1, 2, 8)
_SECONDS = (20, 30)
_TRIGGERS = ("500 milliseconds", "1 second", "2 seconds")


def sweep_table(stage: Stage) -> Table:
    """Topic -> `recent_brands` to the end of the topic, with other settings."""
    cases = [Case("as shipped", partial(_catch_up, stage, {}, 4))]
    cases += [Case(name, partial(_catch_up, stage, overrides, 4)) for name, overrides in _settings()]
    cases += [Case(f"partitions of the topic: {n}", partial(_catch_up, stage, {}, n)) for n in _PARTITIONS]
    return Table(
        "sweep",
        "Other settings: catching up",
        _few(stage, cases),
        RATES,
        "",
        PACKAGES,
        f"{stage.scale.events:,} events",
    )


def small_sweep_table(stage: Stage) -> Table:
    """1,000 events a second, with other settings."""
    users = stage.scale.known_users[0]
    settings = [("as shipped", {}), *_settings()]
    settings += [(f"trigger: {pause}", {"LAMBDA_SPEED__TRIGGER": pause}) for pause in _TRIGGERS]
    cases = [Case(name, partial(probe_run, stage, users, overrides, _SECONDS)) for name, overrides in settings]
    return Table(
        "small-sweep",
        "Other settings: small micro-batches",
        _few(stage, cases),
        COLUMNS,
        "",
        PACKAGES,
        f"{users:,} users",
    )


def _settings() -> list[tuple[str, Overrides]]:
    return [
        (f"{name}: {''.join(filter(str.isdigit, value))}", {variable: value})
        for name, (variable, values) in _KNOBS.items()
        for value in values
    ]


def _few(stage: Stage, cases: list[Case]) -> list[Case]:
    """Leave out most of them where only the bench itself is tried; a setting is measured once."""
    return [case._replace(repetitions=1) for case in (cases if stage.scale.is_published else cases[:2])]


def _catch_up(stage: Stage, overrides: Overrides, partitions: int, scratch: Path) -> Run:
    topic = stage.filled_topic(stage.events_file(), partitions)
    run = spark_run(stage, scratch, "speed_stream", checkpoints.speed_checkpoint, topic)
    return run._replace(environment={**run.environment, **overrides})
