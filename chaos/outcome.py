"""The outcome of a pipeline, to compare with that of an undisturbed one: sorted rows, recent brands and counts."""

from collections import Counter
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from chaos.pipeline import Location
from lambda_spark.api.user_index import load_index
from lambda_spark.delta import event_log, tables
from lambda_spark.delta.tables import (
    EVENTS,
    PRODUCT_ACTIVITY,
    RECOMMENDATIONS,
    REJECTED_EVENTS,
    TRENDS,
    USER_BRANDS,
    Table,
)
from lambda_spark.kafka.client import message_count
from lambda_spark.settings import load_settings
from lambda_spark.speed import checkpoints
from lambda_spark.speed.checkpoints import received_count

# The key columns of each table.
_KEYS: dict[Table, list[str]] = {
    EVENTS: ["source_partition", "source_offset"],
    REJECTED_EVENTS: ["source_partition", "source_offset"],
    PRODUCT_ACTIVITY: ["event_date", "product_id"],
    USER_BRANDS: ["user_id"],
    TRENDS: ["window_from", "window_to", "bucket", "rank", "product_id"],
    RECOMMENDATIONS: ["window_from", "window_to", "user_id", "rank"],
}
# These differ between runs.
_PROCESSING_TIMES = {"rejected_at"}


class Outcome(NamedTuple):
    """The sorted rows of each table by its name, the recent brands by user, and the counts of each layer."""

    rows: dict[str, pa.Table]
    brands: dict[int, list[tuple[str, int]]]
    counts: dict[str, int]


def read_outcome(location: Location) -> Outcome:
    """Return the outcome at a location. Raises NotComputedError if a table is missing."""
    settings = load_settings(data_root=location.root, kafka={"bootstrap_servers": location.bootstrap_servers})
    index = load_index(location.root, settings.brands.limit)
    users = pc.unique(tables.read_arrow(location.root, EVENTS, ["user_id"])["user_id"]).to_pylist()
    stored = event_log.master_dataset_counts(location.root)
    return Outcome(
        {table.name: _rows(location.root, table, keys) for table, keys in _KEYS.items()},
        {user_id: brands for user_id in users if (brands := index.find(user_id))},
        {
            "messages in the topic": message_count(settings.kafka),
            "received by the batch layer": received_count(checkpoints.ingest_checkpoint(location.root)),
            "stored and rejected": (stored.stored or 0) + sum(stored.rejected.values()),
            "received by the speed layer": received_count(checkpoints.speed_checkpoint(location.root)),
        },
    )


def differences(found: Outcome, expected: Outcome) -> list[str]:
    """Return a sentence per difference.

    Only windows of the undisturbed run are compared: batch jobs in a disturbed run compute earlier ones too.
    """
    sentences = []
    for name, rows in expected.rows.items():
        other = _of_same_windows(found.rows[name], rows)
        if not other.equals(rows):
            lost, more = (_missing(*pair) for pair in ((rows, other), (other, rows)))
            sentences.append(
                f"{name}: {len(rows):,} rows expected, {len(other):,} found; {lost} missing, {more} unexpected"
            )
    if found.brands != expected.brands:
        users = [user for user in expected.brands | found.brands if found.brands.get(user) != expected.brands.get(user)]
        sentences.append(f"recent brands: other lists of {len(users):,} users, such as {users[0]}")
    sentences += [
        f"{what}: {n:,} expected, {found.counts[what]:,} found"
        for what, n in expected.counts.items()
        if found.counts[what] != n
    ]
    return sentences


def _rows(root: str, table: Table, keys: list[str]) -> pa.Table:
    rows = tables.open_dataset(root, table).to_table()
    return rows.drop_columns([name for name in rows.column_names if name in _PROCESSING_TIMES]).sort_by(
        [(key, "ascending") for key in keys]
    )


def _of_same_windows(rows: pa.Table, expected: pa.Table) -> pa.Table:
    if "window_from" not in rows.column_names:
        return rows
    is_expected = pc.and_(
        *(pc.is_in(rows[name], value_set=pc.unique(expected[name])) for name in ("window_from", "window_to"))
    )
    return rows.filter(is_expected)


def _missing(rows: pa.Table, other: pa.Table) -> int:
    """Return the number of rows that the other table lacks, or has less often."""
    one, another = (Counter(map(repr, each.to_pylist())) for each in (rows, other))
    return sum((one - another).values())
