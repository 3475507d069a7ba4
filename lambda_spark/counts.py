"""What each layer has received, read from Delta's log and the checkpoints: no Spark needed, so also at the very end."""

from collections import Counter

from lambda_spark import tables
from lambda_spark.checkpoints import checkpoint_of
from lambda_spark.summary import Counts
from lambda_spark.tables import EVENTS, RECENT_BRANDS, REJECTED_EVENTS


def ingest_checkpoint(root: str) -> str:
    """Return where ingest keeps how far it is in the topic."""
    return checkpoint_of(tables.path_of(root, EVENTS), "ingest")


def speed_checkpoint(root: str) -> str:
    """Return where the speed layer keeps its state and how far it is in the topic."""
    return checkpoint_of(tables.path_of(root, RECENT_BRANDS), "speed")


def master_dataset_counts(root: str) -> Counts:
    """Count all events stored and all rejected, by reason, and how many of both came from files."""
    stored, stored_from_files = tables.event_counts(root)
    rejected, rejected_from_files = _rejected(root)
    return Counts(stored=stored, rejected=rejected, from_files=stored_from_files + rejected_from_files)


def growth(before: Counts, after: Counts, received: int | None = None) -> Counts:
    """Return what came between two counts of the master dataset, and what was received meanwhile."""
    stored, rejected = (after.stored or 0) - (before.stored or 0), Counter(after.rejected) - Counter(before.rejected)
    if received is None:
        received = stored + rejected.total()
    return Counts(batch_received=received, stored=stored, rejected=rejected)


def _rejected(root: str) -> tuple[Counter[str], int]:
    if not tables.exists(root, REJECTED_EVENTS):
        return Counter(), 0
    rejected = tables.read_arrow(root, REJECTED_EVENTS, ["reason", "source_file"])
    return Counter(rejected["reason"].to_pylist()), len(rejected) - rejected["source_file"].null_count
