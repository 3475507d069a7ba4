"""The division of work between the layers: what a batch view covers, the speed layer need not hold.

Covered is what the master dataset held when the view was computed: messages below an offset per partition, never events
before a time. A batch view that is visible covers for good, so dropping later, or twice, does no harm
(docs/adr/0008-hand-over.md).
"""

from collections.abc import Mapping
from typing import Any

from lambda_spark.delta import tables
from lambda_spark.delta.tables import EVENTS, LIVE_ACTIVITY, PRODUCT_ACTIVITY, RECENT_BRANDS, USER_BRANDS, Table
from lambda_spark.schemas import Offsets
from lambda_spark.settings import BrandSettings

# The keys of the lineage of a batch view: its version of `events`, how far it covers the topic, and by which rule.
EVENTS_VERSION, COVERS, RULE = "events_version", "covers", "rule"
_TOPIC, _TOPIC_ID, _OFFSETS, _HELD = "topic", "topic_id", "offsets", "held_from"

# By the name of a realtime view, the offset of each partition from which on it holds what messages told.
Held = dict[str, Offsets]


def usable_lineage(root: str, view: Table, version: int | None = None) -> dict[str, Any] | None:
    """Return what a batch view, or a version of it, was computed from; None where that cannot be told any more."""
    lineage = tables.lineage_of(root, view, version)
    return lineage if lineage is not None and is_in_log(root, lineage) else None


def is_in_log(root: str, lineage: Mapping[str, Any]) -> bool:
    """Say whether the version of `events` that something was computed from can be compared with the present one.

    Delta's log goes back for 30 days.
    """
    version = lineage[EVENTS_VERSION]
    return version is None or tables.has_version(root, EVENTS, version)


def offset_metadata(topic: str, offsets: Offsets, topic_id: str | None = None) -> dict[str, Any]:
    """Return what a commit says of how far its table holds the topic, whose id tells it from others of its name."""
    return {_TOPIC: topic, _OFFSETS: offsets, **({_TOPIC_ID: topic_id} if topic_id else {})}


def speed_lineage(topic: str, reached: Offsets, held: Held, topic_id: str | None = None) -> dict[str, Any]:
    """Return what a micro-batch's commits say: how far the topic has been read, and from where on each view has it."""
    return {**offset_metadata(topic, reached, topic_id), _HELD: held}


def offsets_of(lineage: Mapping[str, Any] | None, topic: str) -> Offsets:
    """Return how far a table holds the topic, by what its commit says; nothing where that is about another topic."""
    return _offsets((lineage or {}).get(_OFFSETS)) if topic_of(lineage) == topic else {}


def topic_of(lineage: Mapping[str, Any] | None) -> str | None:
    """Return the topic that a commit is about."""
    return (lineage or {}).get(_TOPIC)


def topic_id_of(lineage: Mapping[str, Any] | None) -> str | None:
    """Return the id of that topic; None where the commit does not say it."""
    return (lineage or {}).get(_TOPIC_ID)


def start_offsets(lineage: Mapping[str, Any] | None, topic: str) -> Held:
    """Return from where on the realtime views hold the topic, by what a micro-batch's commit says."""
    held = (lineage or {}).get(_HELD, {}) if topic_of(lineage) == topic else {}
    return {name: _offsets(offsets) for name, offsets in held.items()}


def current_start_offsets(root: str, topic: str, log: int | None = None) -> Held:
    """Return from where on the realtime views hold the topic, by the newest commit of `recent_brands`, or a version."""
    held = start_offsets(tables.lineage_of(root, RECENT_BRANDS, log), topic)
    # A `live_activity` that was lost and made anew said so when it was made.
    anew = start_offsets(tables.lineage_of(root, LIVE_ACTIVITY), topic).get(LIVE_ACTIVITY.name, {})
    return {
        name: max_offsets(offsets, anew) if name == LIVE_ACTIVITY.name else offsets for name, offsets in held.items()
    }


def live_from_now_on(root: str, topic: str) -> dict[str, Any] | None:
    """Return what the first commit of `live_activity` has to say: what was read before it is made, it does not hold."""
    reached = offsets_of(tables.lineage_of(root, RECENT_BRANDS), topic)
    return speed_lineage(topic, reached, {LIVE_ACTIVITY.name: reached}) if reached else None


def covered_offsets(root: str, topic: str, brands: BrandSettings) -> Held:
    """Return, by realtime view, the offsets below which its batch view has all messages; brands by the same rule."""
    lists, counts = (tables.lineage_of(root, view) or {} for view in (USER_BRANDS, PRODUCT_ACTIVITY))
    is_same_rule = lists.get(RULE) == brands.model_dump(mode="json")
    return {
        RECENT_BRANDS.name: offsets_of(lists.get(COVERS), topic) if is_same_rule else {},
        LIVE_ACTIVITY.name: offsets_of(counts.get(COVERS), topic),
    }


def covers_at_least(lineage: Mapping[str, Any] | None, current: Mapping[str, Any] | None) -> bool:
    """Return True if rows of a view cover all messages that its current rows cover, which streams may have dropped."""
    covered, covered_now = ((each or {}).get(COVERS) for each in (lineage, current))
    topic = topic_of(covered_now)
    return topic is None or is_covered_by(offsets_of(covered_now, topic), offsets_of(covered, topic))


def is_covered_by(offsets: Offsets, covered: Offsets) -> bool:
    """Say whether all messages below the one are below the other."""
    return all(end <= covered.get(partition, 0) for partition, end in offsets.items())


def max_offsets(one: Offsets, other: Offsets) -> Offsets:
    """Return the larger offset of each partition."""
    return {number: max(one.get(number, 0), other.get(number, 0)) for number in one | other}


def _offsets(told: Mapping[str, int] | None) -> Offsets:
    return {int(partition): offset for partition, offset in (told or {}).items()}


def count_between(start: Offsets, end: Offsets) -> int:
    """Return the number of messages from `start` up to but not with `end`; partitions may have come since."""
    return sum(offset - start.get(partition, 0) for partition, offset in end.items())
