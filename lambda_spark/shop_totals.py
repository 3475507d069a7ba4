"""How many events the whole shop had in each bucket: from events that are known, without Spark."""

from datetime import timedelta

from lambda_spark import parsing
from lambda_spark.event_files import open_files
from lambda_spark.known_events import KnownEvents
from lambda_spark.time_ranges import MICROSECOND, UTC, TimeRange, micros


def shop_totals(known: KnownEvents, time_range: TimeRange, size: timedelta) -> list[int]:
    """Count the events of each bucket of a range, in order."""
    start, end = (instant.astimezone(UTC) for instant in time_range)
    files = [file for file in known.files if start.date() <= file.day <= end.date()]
    sources = {"later": known.later, **({"stored": open_files(files)} if files else {})}
    sql = f"""
        SELECT CAST((epoch_us(event_time) - {micros(start)}) // {size // MICROSECOND} AS BIGINT) AS place,
            count(*) AS total
        FROM ({" UNION ALL ".join(f"SELECT event_time FROM {name}" for name in sources)})
        WHERE event_time >= TIMESTAMPTZ '{start}' AND event_time < TIMESTAMPTZ '{end}' GROUP BY place
    """
    counted = parsing.run(parsing.connect().cursor(), sql, **sources)
    totals = [0] * ((end - start) // size)
    for place, total in zip(counted["place"].to_pylist(), counted["total"].to_pylist(), strict=True):
        totals[place] = total
    return totals
