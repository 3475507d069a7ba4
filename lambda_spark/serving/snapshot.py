"""A snapshot of what both layers hold: a version of `events`, what of it is counted, and a version of `recent_brands`.

Counts come from the master dataset alone. What users browsed may reach further, as far as `recent_brands` does. An
answer's commit names its snapshot, so that the same answer can be computed again from the master dataset alone.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow.compute as pc

from lambda_spark.batch.bucket_counts import CountedEvents, open_counts
from lambda_spark.delta import tables
from lambda_spark.delta.coverage import is_covered_by, is_in_log, max_offsets, offsets_of, start_offsets, topic_of
from lambda_spark.delta.event_log import event_days, event_files, slices_until, topic_offsets
from lambda_spark.delta.file_tasks import EventSlice
from lambda_spark.delta.storage import is_file
from lambda_spark.delta.tables import EVENTS, RECENT_BRANDS, USER_BRANDS
from lambda_spark.errors import NotComputedError
from lambda_spark.schemas import Offsets

_OUTSIDE_LOG = "The log of `events` does not go back to what the answer came from any more: ask again."
_REMOVED = "The files of the events that the answer came from were removed since, by `make optimize`: ask again."
_INGEST_BEHIND = (
    f"Ingest is behind the speed layer, so `events` does not hold all that the answer came from yet: "
    f"run {EVENTS.written_by}."
)


class RealtimeView(NamedTuple):
    """A version of `recent_brands`: its lists are of the topic's messages, per partition from `start` to `reached`."""

    version: int
    topic: str
    start: Offsets
    reached: Offsets


class Snapshot(NamedTuple):
    """What an answer is computed from; `stored` are the offsets below which `events` holds the topic's messages.

    `brands_version` is the version of `user_brands`, `seen_at` the newest time in the lists of `recent_brands`; each is
    None if there is none.
    """

    counts: CountedEvents
    realtime: RealtimeView | None
    stored: Offsets
    brands_version: int | None
    seen_at: datetime | None

    @property
    def reached(self) -> Offsets:
        """Return the offsets below which either layer holds all messages."""
        return max_offsets(self.stored, self.realtime.reached) if self.realtime else self.stored

    def lineage(self, reached: Offsets) -> dict[str, Any]:
        """Return the metadata by which `slices_of` finds the events again: counted, and browsed up to the offsets."""
        offsets = {str(number): end for number, end in sorted(reached.items())}
        topic = self.realtime.topic if self.realtime else None
        return {"events_version": self.counts.version, "topic": topic, "reached": offsets}


class Boundary(NamedTuple):
    """How far an answer reaches: the times of the newest event of the batch layer, and of either layer."""

    batch_upto: datetime | None
    seen_upto: datetime | None


def open_snapshot(root: str) -> Snapshot:
    """Return a snapshot of the present tables; there may be none of them yet."""
    # First, so that what the speed layer drops meanwhile is in the batch views that are opened after it.
    realtime = open_realtime_view(root)
    brands_version, counts = tables.find_version(root, USER_BRANDS), open_counts(root)
    stored = topic_offsets(root, counts.version, realtime.topic) if realtime else {}
    return Snapshot(counts, realtime, stored, brands_version, _newest_seen_at(root, realtime) if realtime else None)


def open_realtime_view(root: str) -> RealtimeView | None:
    """Return the present version of `recent_brands`; None if no micro-batch has been committed."""
    if not tables.exists(root, RECENT_BRANDS):
        return None
    version = tables.version_of(root, RECENT_BRANDS)
    lineage = tables.lineage_of(root, RECENT_BRANDS, version)
    topic = topic_of(lineage)
    if topic is None:
        return None
    return RealtimeView(version, topic, start_offsets(lineage, topic) or {}, offsets_of(lineage, topic))


def boundary_of(root: str, snapshot: Snapshot) -> Boundary:
    """Return how far a snapshot reaches."""
    batch_upto = event_days(root, snapshot.counts.version)[-1].last_at if snapshot.counts.files else None
    seen = [moment for moment in (batch_upto, snapshot.seen_at) if moment]
    return Boundary(batch_upto, max(seen, default=None))


def slices_of(root: str, lineage: Mapping[str, Any]) -> list[EventSlice]:
    """Return the events that an answer's lists of brands came from, by its lineage, from the master dataset alone.

    Raises NotComputedError if the master dataset does not hold all of them yet, or any more.
    """
    version, topic = lineage["events_version"], lineage["topic"]
    reached = {int(number): end for number, end in lineage["reached"].items()}
    if not is_in_log(root, lineage):
        raise NotComputedError(_OUTSIDE_LOG)
    present = tables.find_version(root, EVENTS)
    if topic is not None and not is_covered_by(reached, topic_offsets(root, present, topic)):
        raise NotComputedError(_INGEST_BEHIND)
    slices = slices_until(root, version, topic, reached)
    kept = {file.path for file in event_files(root)} if present is not None else set()
    if not all(file.path in kept or is_file(file.path) for each in slices for file in each.files):
        raise NotComputedError(_REMOVED)
    return slices


def _newest_seen_at(root: str, realtime: RealtimeView) -> datetime | None:
    brands = tables.open_dataset(root, RECENT_BRANDS, realtime.version).to_table(["brands"])["brands"]
    newest: datetime | None = pc.max(pc.struct_field(pc.list_flatten(brands), "last_seen_at")).as_py()
    return newest
