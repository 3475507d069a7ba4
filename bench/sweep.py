"""The speed layer's settings, one changed at a time: how fast it catches up, and what a small micro-batch costs."""

from functools import partial
from pathlib import Path

from bench.case import Case, Run, Table
from bench.freshness import COLUMNS, PACKAGES, Overrides, probe_run
from bench.testbed import Testbed
from bench.throughput import RATES, spark_run
from lambda_spark.speed import checkpoints


def _arrow(*sizes: int) -> tuple[str, ...]:
    return tuple(f"--conf spark.sql.execution.arrow.maxRecordsPerBatch={size} pyspark-shell" for size in sizes)


# setting -> environment variable and values; the defaults are the first row of each table
_SETTINGS = {
    "shards": ("LAMBDA_SPEED__SHARDS", ("4", "8", "16", "64", "128", "512")),
    "state partitions": ("LAMBDA_SPEED__STATE_PARTITIONS", ("1", "4", "8")),
    "messages a trigger": ("LAMBDA_SPEED__MAX_MESSAGES_PER_TRIGGER", ("100000", "250000", "500000", "2000000")),
    "rows an Arrow batch": ("PYSPARK_SUBMIT_ARGS", _arrow(10_000, 200_000)),
}
_PARTITIONS = (1, 2, 8)
_SECONDS = (20, 30)
_TRIGGERS = ("500 milliseconds", "1 second", "2 seconds")


def sweep_table(testbed: Testbed) -> Table:
    """Return the table of topic -> `recent_brands` to the end of the topic, by setting."""
    cases = [Case("as shipped", partial(_catch_up, testbed, {}, 4))]
    cases += [Case(name, partial(_catch_up, testbed, overrides, 4)) for name, overrides in _settings()]
    cases += [Case(f"partitions of the topic: {n}", partial(_catch_up, testbed, {}, n)) for n in _PARTITIONS]
    cases, data = _selected(testbed, cases), f"{testbed.scale.events:,} events"
    return Table("sweep", "Other settings: catching up", cases, RATES, "", PACKAGES, data)


def small_sweep_table(testbed: Testbed) -> Table:
    """Return the table of 1,000 events a second, by setting."""
    users = testbed.scale.known_users[0]
    settings = [("as shipped", {}), *_settings()]
    settings += [(f"trigger: {pause}", {"LAMBDA_SPEED__TRIGGER": pause}) for pause in _TRIGGERS]
    cases = [Case(name, partial(probe_run, testbed, users, overrides, _SECONDS)) for name, overrides in settings]
    cases, data = _selected(testbed, cases), f"{users:,} users"
    return Table("small-sweep", "Other settings: small micro-batches", cases, COLUMNS, "", PACKAGES, data)


def _settings() -> list[tuple[str, Overrides]]:
    return [
        (f"{name}: {''.join(filter(str.isdigit, value))}", {variable: value})
        for name, (variable, values) in _SETTINGS.items()
        for value in values
    ]


def _selected(testbed: Testbed, cases: list[Case]) -> list[Case]:
    """Return the cases, each measured once; only two for a scale that isn't published."""
    return [case._replace(repetitions=1) for case in (cases if testbed.scale.is_published else cases[:2])]


def _catch_up(testbed: Testbed, overrides: Overrides, partitions: int, scratch: Path) -> Run:
    topic = testbed.filled_topic(testbed.events_file(), partitions)
    run = spark_run(testbed, scratch, "speed_stream", checkpoints.speed_checkpoint, topic)
    return run._replace(environment={**run.environment, **overrides})
