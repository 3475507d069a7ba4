"""Whether the views of recent brands hold what is known, so that an answer may be taken from them."""

from datetime import datetime

from lambda_spark import tables
from lambda_spark.checkpoints import Offsets
from lambda_spark.days import changed_days
from lambda_spark.handover import COVERS, EVENTS_VERSION, RULE, basis_of, further, is_within, offsets_of
from lambda_spark.known_days import newest_at
from lambda_spark.known_events import KnownEvents, LiveView
from lambda_spark.settings import BrandSettings
from lambda_spark.tables import USER_BRANDS


def is_present(root: str, known: KnownEvents, as_of: datetime) -> bool:
    """Say whether an instant lies past the newest event that is known."""
    newest = newest_at(root, known)
    return newest is not None and newest < as_of


def do_views_hold(root: str, brands: BrandSettings, live: LiveView | None, known: KnownEvents) -> bool:
    """Say whether the views of recent brands are of all known events, no more and no less, by the present rule."""
    lists = basis_of(root, USER_BRANDS)
    if lists is not None and lists[RULE] != brands.model_dump(mode="json"):
        return False
    version = lists[EVENTS_VERSION] if lists is not None else None
    if _from_files(root, version) != _from_files(root, known.version):
        return False
    topic = known.topic
    if topic is None:
        return version is not None and not changed_days(root, version, known.version or 0)
    covered: Offsets = offsets_of(lists[COVERS], topic) if lists else {}
    held, reached = (live.held_brands, live.reached) if live else ({}, {})
    # Of a partition whose first messages neither view has, the stream's later ones do not help.
    seen = {number: end for number, end in reached.items() if held.get(number, 0) <= covered.get(number, 0)}
    return is_within(known.reached, further(covered, seen)) and is_within(covered, known.reached)


def _from_files(root: str, version: int | None) -> int:
    return tables.event_counts(root, version)[1] if version is not None else 0
