"""What each layer has received, read from Delta's log and the checkpoints: no Spark needed, so also at the very end."""

from collections import Counter

import deltalake
import pyarrow.compute as pc

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
    """Count all events stored and all rejected, by reason."""
    return Counts(stored=_row_count(root), rejected=_rejected(root))


def growth(before: Counts, after: Counts, received: int | None = None) -> Counts:
    """Return what came between two counts of the master dataset, and what was received meanwhile."""
    stored, rejected = (after.stored or 0) - (before.stored or 0), Counter(after.rejected) - Counter(before.rejected)
    if received is None:
        received = stored + rejected.total()
    return Counts(batch_received=received, stored=stored, rejected=rejected)


def _row_count(root: str) -> int:
    if not tables.exists(root, EVENTS):
        return 0
    return pc.sum(tables.files_of(root, EVENTS)["num_records"]).as_py() or 0


def _rejected(root: str) -> Counter[str]:
    if not tables.exists(root, REJECTED_EVENTS):
        return Counter()
    rejected = deltalake.DeltaTable(tables.path_of(root, REJECTED_EVENTS)).to_pyarrow_table(columns=["reason"])
    return Counter(rejected["reason"].to_pylist())
