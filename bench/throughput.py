"""Events a second: topic -> recent brands beside the alternatives, files -> topic, topic -> `events`."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from kafka import KafkaConsumer, TopicPartition

from bench.brand_lists import agreement, answered_lists, stored_lists, true_lists
from bench.case import Case, Column, Figures, Goal, Run, Table
from bench.environments import flink_connector, python_of
from bench.process import BenchError, Measurement, job
from bench.progress import Progress, committed_progress, printed_progress, steady_rate
from bench.testbed import Testbed
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
_NOT_DURABLE = "nothing durable: a restart begins from scratch; no Delta"
# name -> script, environment, remark
_OTHERS: Mapping[str, tuple[str, str, str]] = {
    "kafka-python and a dict, as the original system": (
        "kafka_dict",
        "streams",
        f"{_NOT_DURABLE}; arrival decides, not time",
    ),
    "quixstreams": ("quix", "streams", "at least once; state in RocksDB and a changelog topic; no Delta"),
    "bytewax": ("bytewax_flow", "streams", _NOT_DURABLE),
    "pathway": ("pathway_table", "streams", f"{_NOT_DURABLE}; keeps all brands of a user, cuts for output"),
    "PyFlink": ("flink_sql", "flink", f"{_NOT_DURABLE}; keeps all brands of a user, cuts for output"),
}


def speed_table(testbed: Testbed) -> Table:
    """Return the table of topic -> `recent_brands`, by lambda-spark and by the alternatives."""
    cases = [
        Case("lambda-spark", partial(_speed_run, testbed), "exactly once, state in RocksDB, Delta"),
        *(
            Case(
                f"{name}, {'one process' if workers == 1 else 'two'}",
                partial(_alternative_run, testbed, script, environment, workers),
                remark,
                None if script == "kafka_dict" else testbed.scale.long_repetitions,
            )
            for name, (script, environment, remark) in _OTHERS.items()
            for workers in ((1, 2) if testbed.scale.is_published else (1,))
        ),
    ]
    columns = (*RATES, Column("agreement", "lists right, %", "{:.1f}"))
    packages = ("pyspark", "delta-spark", "duckdb", "kafka-python", "quixstreams", "bytewax", "pathway", "apache-flink")
    return Table(
        "speed",
        "Topic to recent brands",
        cases,
        columns,
        "what it keeps, what it does not do",
        packages,
        _data(testbed),
    )


def replay_table(testbed: Testbed) -> Table:
    """Return the table of files -> topic, with a new topic for each run."""
    kept = "each record once, a user's in order; resumes"
    cases = [Case("one process", partial(_replay_run, testbed, ()), kept)]
    cases += [Case("--bulk, by Spark's tasks", partial(_replay_run, testbed, ("--bulk",)), kept)]
    return Table("replay", "Files to topic", cases, RATES, "what it keeps", ("kafka-python",), _data(testbed))


def ingest_table(testbed: Testbed) -> Table:
    """Return the table of topic -> `events`."""
    clean, malformed = "jobs/ingest_events.py", "every second message malformed"
    kept = "exactly once, Delta, rejects kept"
    topics = {clean: lambda: testbed.filled_topic(testbed.events_file()), malformed: testbed.half_malformed_topic}
    cases = [Case(name, partial(_ingest_run, testbed, topic_of), kept) for name, topic_of in topics.items()]
    goals = [Goal(malformed, "steady", 0.5, "half of the clean run's", "{:.0%}", True, clean)]
    packages = ("pyspark", "delta-spark", "duckdb", "deltalake")
    return Table("ingest", "Topic to master dataset", cases, RATES, "what it keeps", packages, _data(testbed), goals)


def rates(measured: Measurement, progress: list[Progress], total: int, until: float | None = None) -> Figures:
    """Return the figures of RATES for a run; work after `until`, such as writing the answer, doesn't count."""
    seconds, usage = until - measured.began_at if until else measured.seconds, measured.usage(until)
    return {
        "whole": total / seconds,
        "steady": steady_rate(progress),
        "seconds": seconds,
        "cpu_seconds": usage.cpu_seconds,
        "peak_mb": usage.peak_bytes / 1e6,
        "written_per_event": usage.written_bytes / total,
    }


def spark_run(testbed: Testbed, scratch: Path, name: str, checkpoint_of: Callable[[str], str], topic: str) -> Run:
    """Return a run of a streaming job that reads a topic to its end into an empty data root."""

    def figures(measured: Measurement) -> Figures:
        progress = committed_progress(checkpoint_of(str(scratch)))
        total = message_count(testbed.kafka(topic))
        if progress[-1].done != total:
            raise BenchError(f"jobs/{name}.py has read {progress[-1].done:,} of {total:,} events.")
        return rates(measured, progress, total)

    return Run(job(name, "--available-now"), testbed.environment(topic, scratch), figures)


def _data(testbed: Testbed) -> str:
    return f"{testbed.scale.events:,} events of {testbed.scale.users:,} users, 4 partitions"


def _speed_run(testbed: Testbed, scratch: Path) -> Run:
    run = spark_run(
        testbed, scratch, "speed_stream", checkpoints.speed_checkpoint, testbed.filled_topic(testbed.events_file())
    )
    truth = true_lists(testbed.events_file())

    def figures(measured: Measurement) -> Figures:
        stored = stored_lists(scratch / "recent_brands", list(truth))
        if (right := agreement(truth, stored)) < 100:
            raise BenchError(f"Only {right:.1f} % of the lists in recent_brands are right.")
        return {**run.figures(measured), "agreement": right}

    return run._replace(figures=figures)


def _alternative_run(testbed: Testbed, script: str, environment: str, workers: int, scratch: Path) -> Run:
    file, truth = testbed.events_file(), true_lists(testbed.events_file())
    command = [str(python_of(environment)), str(ALTERNATIVES / f"{script}.py")]
    command += ["--bootstrap-servers", testbed.bootstrap_servers, "--topic", testbed.filled_topic(file)]
    command += ["--workers", str(workers), "--scratch", str(scratch)]
    if script == "flink_sql":
        command += ["--jar", str(flink_connector())]
        (scratch / "users.json").write_text(json.dumps(list(truth)))

    def figures(measured: Measurement) -> Figures:
        progress = printed_progress(measured.output, testbed.scale.events)
        if not progress:
            raise BenchError(f"{script}.py has printed no progress.")
        measured_rates = rates(measured, progress, testbed.scale.events, progress[-1].at)
        return {**measured_rates, "agreement": agreement(truth, answered_lists(scratch))}

    return Run(command, {"JAVA_HOME": str(JAVA.parent.parent)}, figures)


def _replay_run(testbed: Testbed, options: Sequence[str], _: Path) -> Run:
    file, topic = testbed.events_file(), testbed.new_name()

    def figures(measured: Measurement) -> Figures:
        return rates(measured, _appended_progress(testbed.bootstrap_servers, topic), testbed.scale.events)

    return Run(job("replay_events", str(file), *options), testbed.environment(topic), figures)


def _appended_progress(bootstrap_servers: str, topic: str, steps: int = 10) -> list[Progress]:
    """Return when a topic was how full, by the time stamps of every tenth of each partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap_servers)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    ends = consumer.end_offsets(partitions)
    consumer.assign(partitions)
    progress = []
    for step in range(1, steps + 1):
        for partition in partitions:
            consumer.seek(partition, ends[partition] * step // steps - 1)
        stamps: dict[TopicPartition, int] = {}
        while len(stamps) < len(partitions):
            for partition, messages in consumer.poll(timeout_ms=1_000).items():
                stamps.setdefault(partition, messages[0].timestamp)
        progress.append(Progress(max(stamps.values()) / 1e3, sum(ends.values()) * step // steps))
    consumer.close()
    return progress


def _ingest_run(testbed: Testbed, topic_of: Callable[[], str], scratch: Path) -> Run:
    return spark_run(testbed, scratch, "ingest_events", checkpoints.ingest_checkpoint, topic_of())
