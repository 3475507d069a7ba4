"""How many events the whole shop had in each bucket: from events that are known, without Spark."""

from datetime import timedelta

from lambda_spark import parsing
from lambda_spark.known_events import KnownEvents, select_within
from lambda_spark.time_ranges import MICROSECOND, TimeRange, micros


def shop_totals(known: KnownEvents, time_range: TimeRange, size: timedelta) -> list[int]:
    """Count the events of each bucket of a range, in order."""
    events, sources = select_within(known, time_range, "event_time")
    sql = f"""
        SELECT CAST((epoch_us(event_time) - {micros(time_range.start)}) // {size // MICROSECOND} AS BIGINT) AS place,
            count(*) AS total
        FROM ({events}) GROUP BY place
    """
    counted = parsing.run(parsing.connect().cursor(), sql, **sources)
    totals = [0] * ((time_range.end - time_range.start) // size)
    for place, total in zip(counted["place"].to_pylist(), counted["total"].to_pylist(), strict=True):
        totals[place] = total
    return totals
