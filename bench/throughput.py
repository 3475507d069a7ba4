"""How many events a second: topic -> recent brands beside the alternatives, files -> topic, topic -> `events`."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition

from bench.case import Case, Column, Figures, Goal, Run, Table
from bench.environments import flink_connector, python_of
from bench.lists import agreement, answered_lists, stored_lists, true_lists
from bench.marks import Mark, committed_marks, printed_marks, steady_rate
from bench.process import BenchError, Measured, job
from bench.stage import Stage
from lambda_spark.kafka.client import message_count
from lambda_spark.local.java import JAVA
from lambda_spark.speed import checkpoints

ALTERNATIVES = Path(__file__).parent / "alternatives"
RATES = (
    Column("whole", "whole run, events/s"),
    Column("steady", "steady, events/s", has_ratio=True),
    Column("cpu_seconds", "processor, s", "{:,.1f}"),
    Column("peak_mb", "peak memory, MB"),
    Column("written_per_event", "written, bytes an event"),
)
_NOT_DURABLE = "nothing durable: a restart begins anew; no Delta"
# script, environment, what it does not do
_OTHERS: Mapping[str, tuple[str, str, str]] = {
    "kafka-python and a dict, the origin's way": ("origin", "streams", f"{_NOT_DURABLE}; arrival decides, not time"),
    "quixstreams": ("quix", "streams", "at least once; state in RocksDB and a changelog topic; no Delta"),
    "bytewax": ("bytewax_flow", "streams", _NOT_DURABLE),
    "pathway": ("pathway_table", "streams", f"{_NOT_DURABLE}; keeps all brands of a user, cuts for output"),
    "PyFlink": ("flink_sql", "flink", f"{_NOT_DURABLE}; keeps all brands of a user, cuts for output"),
}


def speed_table(stage: Stage) -> Table:
    """Topic -> `recent_brands`, and the same question to the alternatives; the answers are compared."""
    cases = [
        Case("lambda-spark", partial(_speed_run, stage), "exactly once, state in RocksDB, Delta"),
        *(
            Case(
                f"{name}, {'one process' if workers == 1 else 'two'}",
                partial(_alternative_run, stage, script, environment, workers),
                remark,
                None if script == "origin" else stage.scale.long_repetitions,
            )
            for name, (script, environment, remark) in _OTHERS.items()
            for workers in ((1, 2) if stage.scale.is_published else (1,))
        ),
    ]
    columns = (*RATES, Column("agreement", "lists right, %", "{:.1f}"))
    packages = ("pyspark", "delta-spark", "duckdb", "kafka-python", "quixstreams", "bytewax", "pathway", "apache-flink")
    return Table(
        "speed", "Topic to recent brands", cases, columns, "what it keeps, what it does not do", packages, _data(stage)
    )


def replay_table(stage: Stage) -> Table:
    """Files -> topic, a new topic for each run."""
    kept = "each record once, a user's in order; resumes"
    cases = [Case("one process", partial(_replay_run, stage, ()), kept)]
    cases += [Case("--bulk, by Spark's tasks", partial(_replay_run, stage, ("--bulk",)), kept)]
    return Table("replay", "Files to topic", cases, RATES, "what it keeps", ("kafka-python",), _data(stage))


def ingest_table(stage: Stage) -> Table:
    """Topic -> `events`."""
    clean, malformed = "jobs/ingest_events.py", "every second message malformed"
    kept = "exactly once, Delta, rejects kept"
    topics = {clean: lambda: stage.filled_topic(stage.events_file()), malformed: stage.half_malformed_topic}
    cases = [Case(name, partial(_ingest_run, stage, topic_of), kept) for name, topic_of in topics.items()]
    goals = [Goal(malformed, "steady", 0.5, "half of the clean run's", "{:.0%}", True, clean)]
    packages = ("pyspark", "delta-spark", "duckdb", "deltalake")
    return Table("ingest", "Topic to master dataset", cases, RATES, "what it keeps", packages, _data(stage), goals)


def rates(measured: Measured, marks: list[Mark], total: int, until: float | None = None) -> Figures:
    """Return the columns RATES of a run; what a process does after `until`, its answer, does not count."""
    seconds, usage = until - measured.began_at if until else measured.seconds, measured.usage(until)
    return {
        "whole": total / seconds,
        "steady": steady_rate(marks),
        "seconds": seconds,
        "cpu_seconds": usage.cpu_seconds,
        "peak_mb": usage.peak_bytes / 1e6,
        "written_per_event": usage.written_bytes / total,
    }


def spark_run(stage: Stage, scratch: Path, name: str, checkpoint_of: Callable[[str], str], topic: str) -> Run:
    """Prepare a streaming job that reads a topic to its end into an empty data root."""

    def figures(measured: Measured) -> Figures:
        marks = committed_marks(checkpoint_of(str(scratch)))
        total = message_count(stage.kafka(topic))
        if marks[-1].done != total:
            raise BenchError(f"jobs/{name}.py has read {marks[-1].done:,} of {total:,} events.")
        return rates(measured, marks, total)

    return Run(job(name, "--available-now"), stage.environment(topic, scratch), figures)


def _data(stage: Stage) -> str:
    return f"{stage.scale.events:,} events of {stage.scale.users:,} users, 4 partitions"


def _speed_run(stage: Stage, scratch: Path) -> Run:
    run = spark_run(
        stage, scratch, "speed_stream", checkpoints.speed_checkpoint, stage.filled_topic(stage.events_file())
    )
    truth = true_lists(stage.events_file())

    def figures(measured: Measured) -> Figures:
        stored = stored_lists(scratch / "recent_brands", list(truth))
        if (right := agreement(truth, stored)) < 100:
            raise BenchError(f"Only {right:.1f} % of the lists in recent_brands are right.")
        return {**run.figures(measured), "agreement": right}

    return run._replace(figures=figures)


def _alternative_run(stage: Stage, script: str, environment: str, workers: int, scratch: Path) -> Run:
    file, truth = stage.events_file(), true_lists(stage.events_file())
    command = [str(python_of(environment)), str(ALTERNATIVES / f"{script}.py")]
    command += ["--bootstrap-servers", stage.bootstrap_servers, "--topic", stage.filled_topic(file)]
    command += ["--workers", str(workers), "--scratch", str(scratch)]
    if script == "flink_sql":
        command += ["--jar", str(flink_connector())]
        (scratch / "users.json").write_text(json.dumps(list(truth)))

    def figures(measured: Measured) -> Figures:
        marks = printed_marks(measured.output, stage.scale.events)
        if not marks:
            raise BenchError(f"{script}.py has printed no progress.")
        measured_rates = rates(measured, marks, stage.scale.events, marks[-1].at)
        return {**measured_rates, "agreement": agreement(truth, answered_lists(scratch))}

    return Run(command, {"JAVA_HOME": str(JAVA.parent.parent)}, figures)


def _replay_run(stage: Stage, options: Sequence[str], _: Path) -> Run:
    file, topic = stage.events_file(), stage.new_name()

    def figures(measured: Measured) -> Figures:
        return rates(measured, _appended_marks(stage.bootstrap_servers, topic), stage.scale.events)

    return Run(job("replay_events", str(file), *options), stage.environment(topic), figures)


def _appended_marks(bootstrap_servers: str, topic: str, steps: int = 10) -> list[Mark]:
    """Return how full a topic was when, by the time stamps of every tenth of each partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    ends = consumer.end_offsets(partitions)
    consumer.assign(partitions)
    marks = []
    for step in range(1, steps + 1):
        for partition in partitions:
            consumer.seek(partition, ends[partition] * step // steps - 1)
        stamps: dict[TopicPartition, int] = {}
        while len(stamps) < len(partitions):
            for partition, messages in consumer.poll(timeout_ms=1_000).items():
                stamps.setdefault(partition, messages[0].timestamp)
        marks.append(Mark(max(stamps.values()) / 1e3, sum(ends.values()) * step // steps))
    consumer.close()
    return marks


def _ingest_run(stage: Stage, topic_of: Callable[[], str], scratch: Path) -> Run:
    return spark_run(stage, scratch, "ingest_events", checkpoints.ingest_checkpoint, topic_of())
