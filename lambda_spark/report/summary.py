"""The plain values of a run that both the console and the page show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from lambda_spark.report.quality import Quality
from lambda_spark.report.words import amount, number
from lambda_spark.schemas import SENTENCES, Row

if TYPE_CHECKING:
    from lambda_spark.delta.event_log import Counts

_SENTENCES = {reason.value: sentence for reason, sentence in SENTENCES.items()}


@dataclass(frozen=True)
class RunSummary:
    """One run from the first message to the recommendations.

    The window is half open. `trends`, `brands` and `recommendations` are the rows to show, best first, with the columns
    of the tables `trends`, `user_brands` and `recommendations`. `notes` are sentences, `seconds` is keyed by step. The
    trends' scores count `count_by`, users or events. A `min_events` of None follows the shop's size. `planted_ids` are
    the products that trend by design if the events are generated.
    """

    counts: "Counts"
    window_from: datetime
    window_to: datetime
    bucket: str
    count_by: str
    min_events: int | None
    brand_limit: int
    trends: Sequence[Row]
    brands: Sequence[Row]
    recommendations: Sequence[Row]
    data_root: str
    quality: Quality
    planted_ids: frozenset[int] = frozenset()
    notes: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


def totals(counts: "Counts") -> list[tuple[str, int]]:
    """Return a label and a count for each known total."""
    rejected = None if counts.stored is None else sum(counts.rejected.values())
    lines = (
        ("History from files", counts.from_files or None),
        ("Sent to the topic", counts.sent),
        ("Received by the batch layer", counts.batch_received),
        ("Received by the speed layer", counts.speed_received),
        ("Stored in the master dataset", counts.stored),
        ("Rejected", rejected),
    )
    return [(label, count) for label, count in lines if count is not None]


def rejected_by_reason(counts: "Counts") -> list[tuple[str, int, str]]:
    """Return each reject reason with its count and its sentence, the most frequent first."""
    reasons = sorted(counts.rejected.items(), key=lambda item: (-item[1], item[0]))
    return [(reason, count, _SENTENCES.get(reason, "")) for reason, count in reasons]


def verdicts(counts: "Counts") -> list[tuple[bool, str]]:
    """Return whether each layer received all messages sent, and whether ingest accounts for all it received.

    Each verdict is True if the counts agree, with a sentence.
    """
    layers = (
        ("batch layer", counts.batch_received, "ingest_events.py"),
        ("speed layer", counts.speed_received, "speed_stream.py"),
    )
    found = [
        _received(layer, received, counts.sent, job)
        for layer, received, job in layers
        if received is not None and counts.sent is not None
    ]
    rejected = sum(counts.rejected.values())
    if counts.stored is not None and counts.batch_received is not None:
        total = counts.stored + rejected
        is_equal = total == counts.batch_received + counts.from_files
        what = "what the batch layer received" + (" and the history" if counts.from_files else "")
        what = what if is_equal else f"{number(total)}, not to {what}"
        found.append((is_equal, f"Stored and rejected add up to {what}."))
    return found


def _received(layer: str, received: int, sent: int, job: str) -> tuple[bool, str]:
    if received == sent:
        return True, f"The {layer} received all {amount(sent, 'message')} sent."
    if received < sent:
        missing = amount(sent - received, "message")
        return False, f"The {layer} lacks {missing} of {number(sent)} sent: run {job} again, it resumes where it was."
    return False, f"The {layer} received {amount(received - sent, 'message')} more than the {number(sent)} sent."
