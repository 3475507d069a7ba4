"""The column `window`, whose text names a window and is the partition of `trends` and `recommendations`.

It is text, since readers escape the colons of an instant in a folder's name in different ways.
"""

from datetime import datetime
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from lambda_spark.time_ranges import UTC, TimeRange, is_midnight

WINDOW = "window"

# A window's other columns, of which a table has the first two or all.
_COLUMNS = ("window_from", "window_to", "bucket")


def window_key(window: TimeRange, bucket: str | None = None) -> str:
    """Return the text of a window, such as `2019-11-24_2019-12-01_day`; instants inside a day as 20191124T103000Z."""
    name = _day if all(map(is_midnight, window)) else _instant
    parts = [*map(name, window), *([bucket.replace(" ", "-")] if bucket else [])]
    return "_".join(parts)


def with_window(rows: pa.Table) -> pa.Table:
    """Append `window`, computed from `window_from`, `window_to` and, if the rows have it, `bucket`."""
    columns = [name for name in _COLUMNS if name in rows.column_names]
    keys = pa.nulls(len(rows), pa.string())
    for row in rows.select(columns).group_by(columns).aggregate([]).to_pylist():
        start, end, *bucket = row.values()
        is_row = reduce(pc.and_, (pc.equal(rows[name], pa.scalar(row[name], rows[name].type)) for name in columns))
        keys = pc.if_else(is_row, window_key(TimeRange(start, end), *bucket), keys)
    return rows.append_column(WINDOW, keys)


def _day(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d")


def _instant(instant: datetime) -> str:
    utc = instant.astimezone(UTC)
    return f"{utc:%Y%m%dT%H%M%S}{f'.{utc.microsecond:06}' if utc.microsecond else ''}Z"
