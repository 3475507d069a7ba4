"""Coverage: which messages of the topic a table holds, as offsets per partition in the metadata of its commits.

A batch view covers what the master dataset held when the view was computed: messages below an offset per partition,
never events before a time. The speed layer may drop what a visible batch view covers; dropping later, or twice, does no
harm, since a batch view is never replaced by one that covers less (docs/adr/0008-hand-over.md).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lambda_spark.delta import tables
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, USER_BRANDS, Table
from lambda_spark.schemas import Offsets
from lambda_spark.settings import BrandSettings

# The keys of a batch view's lineage: the version of `events` it was computed from, how far that covers the topic, and
# the rule it was computed by.
EVENTS_VERSION, COVERS, RULE = "events_version", "covers", "rule"
_TOPIC, _TOPIC_ID, _OFFSETS, _START = "topic", "topic_id", "offsets", "start_offsets"
# What 0.1.0 wrote instead of _START: the same by the name of the view.
_START_BY_VIEW = "held_from"


class OffsetRange(NamedTuple):
    """Messages of a topic, per partition from `start` up to but not including `end`."""

    topic: str
    start: Offsets
    end: Offsets

    def condition(self) -> str:
        """Return the SQL condition of the events from these messages."""
        parts = [
            f"(source_partition = {number} AND source_offset >= {self.start.get(number, 0)} AND source_offset < {end})"
            for number, end in self.end.items()
            if end > self.start.get(number, 0)
        ]
        return f"source_topic = '{self.topic}' AND ({' OR '.join(parts)})" if parts else "false"


def offset_metadata(topic: str, offsets: Offsets, topic_id: str | None = None) -> dict[str, Any]:
    """Return commit metadata: the topic, its id, and the offsets below which the table holds all its messages."""
    return {_TOPIC: topic, _OFFSETS: offsets, **({_TOPIC_ID: topic_id} if topic_id else {})}


def speed_metadata(topic: str, reached: Offsets, start: Offsets, topic_id: str | None = None) -> dict[str, Any]:
    """Return a micro-batch's commit metadata: the offsets it reached, and the first ones that `recent_brands` holds."""
    return {**offset_metadata(topic, reached, topic_id), _START: start}


def offsets_of(lineage: Mapping[str, Any] | None, topic: str) -> Offsets:
    """Return the offsets below which a table holds the topic, by its commit's metadata; none for another topic."""
    return _offsets((lineage or {}).get(_OFFSETS)) if topic_of(lineage) == topic else {}


def start_offsets(lineage: Mapping[str, Any] | None, topic: str) -> Offsets | None:
    """Return the first offset per partition that `recent_brands` holds; None if no micro-batch of the topic did."""
    if lineage is None or topic_of(lineage) != topic:
        return None
    start = lineage.get(_START, lineage.get(_START_BY_VIEW, {}).get(RECENT_BRANDS.name))
    return None if start is None else _offsets(start)


def topic_of(lineage: Mapping[str, Any] | None) -> str | None:
    """Return the topic that a commit's metadata names."""
    return (lineage or {}).get(_TOPIC)


def topic_id_of(lineage: Mapping[str, Any] | None) -> str | None:
    """Return the id of that topic; None if the metadata lacks it."""
    return (lineage or {}).get(_TOPIC_ID)


def covered_offsets(root: str, topic: str, brands: BrandSettings) -> Offsets:
    """Return the offsets below which `user_brands` covers all messages, if it was computed by the present rule."""
    lineage = tables.lineage_of(root, USER_BRANDS) or {}
    is_same_rule = lineage.get(RULE) == brands.model_dump(mode="json")
    return offsets_of(lineage.get(COVERS), topic) if is_same_rule else {}


def usable_lineage(root: str, view: Table, version: int | None = None) -> dict[str, Any] | None:
    """Return the lineage of a batch view, or of a version of it; None if its version of `events` can't be compared."""
    lineage = tables.lineage_of(root, view, version)
    return lineage if lineage is not None and is_in_log(root, lineage) else None


def is_in_log(root: str, lineage: Mapping[str, Any]) -> bool:
    """Return True if the log of `events` still has the version that something was computed from.

    Delta's log goes back for 30 days.
    """
    version = lineage[EVENTS_VERSION]
    return version is None or tables.has_version(root, EVENTS, version)


def covers_at_least(lineage: Mapping[str, Any] | None, present: Mapping[str, Any] | None) -> bool:
    """Return True if rows with this lineage cover all messages that the present rows of the view cover."""
    covered, covered_now = ((each or {}).get(COVERS) for each in (lineage, present))
    topic = topic_of(covered_now)
    return topic is None or is_covered_by(offsets_of(covered_now, topic), offsets_of(covered, topic))


def is_covered_by(offsets: Offsets, covered: Offsets) -> bool:
    """Return True if every offset is at or below its counterpart."""
    return all(end <= covered.get(partition, 0) for partition, end in offsets.items())


def max_offsets(one: Offsets, other: Offsets) -> Offsets:
    """Return the larger offset of each partition."""
    return {number: max(one.get(number, 0), other.get(number, 0)) for number in one | other}


def count_between(start: Offsets, end: Offsets) -> int:
    """Return the number of offsets from `start` up to but not including `end`; `end` may have more partitions."""
    return sum(offset - start.get(partition, 0) for partition, offset in end.items())


def _offsets(written: Mapping[str, int] | None) -> Offsets:
    return {int(partition): offset for partition, offset in (written or {}).items()}
