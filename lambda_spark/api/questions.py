"""What is asked: a window and a moment, from the parameters of a request."""

from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple, TypeVar

from starlette.concurrency import run_in_threadpool

from lambda_spark import deadlines
from lambda_spark.api.keeper import Keeper
from lambda_spark.api.known import Asked, Known
from lambda_spark.errors import NotComputedError, TimeRangeError
from lambda_spark.known_days import known_days
from lambda_spark.time_ranges import TimeRange, format_instant, parse_bucket
from lambda_spark.trend_windows import resolve_request

# Two weeks of ten minutes.
MOST_BUCKETS = 2_016

Answer = TypeVar("Answer")


class Span(NamedTuple):
    """The parameters of a request that name a window."""

    start: datetime | None = None
    end: datetime | None = None
    bucket: str | None = None
    as_of: datetime | None = None


def known(keeper: Keeper) -> Known:
    """Return what is known. Raises NotComputedError."""
    if keeper.known is None:
        raise NotComputedError(keeper.cause)
    return keeper.known


def resolve(keeper: Keeper, now: Known, span: Span) -> tuple[Asked, tuple[str, ...]]:
    """Return the window that is asked for, and what a person should be told of it.

    Without a range it is the last complete days, from all that is known; a range is answered as of its end, unless
    another moment is given. Raises TimeRangeError.
    """
    root = keeper.settings.data_root
    asked, as_of = _range(span), span.as_of
    trends = keeper.settings.trends
    days = known_days(root, now.counts.events, as_of) if as_of else now.days
    request = resolve_request(trends.model_copy(update={"bucket": span.bucket or trends.bucket}), asked, days)
    _check_length(request.range, request.bucket)
    notes = [*request.notes, *now.counts.events.notes]
    if as_of and as_of < request.range.end:
        notes.insert(0, f"Answered as of {format_instant(as_of)}: what came after it is not counted.")
    moment = as_of or (request.range.end if asked else None)
    return Asked(request.range, request.bucket, past_moment(keeper, moment)), tuple(notes)


def _range(span: Span) -> TimeRange | None:
    if span.start is None and span.end is None:
        return None
    if span.start is None or span.end is None:
        raise TimeRangeError("A range needs both from and to: name the other one too, or neither for the default.")
    return TimeRange(span.start, span.end)


def _check_length(asked: TimeRange, bucket: str) -> None:
    if (asked.end - asked.start) / parse_bucket(bucket) > MOST_BUCKETS:
        raise TimeRangeError(
            f"{asked} has more than {MOST_BUCKETS:,} buckets ({bucket}): ask for a larger bucket or a shorter range."
        )


def past_moment(keeper: Keeper, moment: datetime | None) -> datetime | None:
    """Return the moment if it lies before the newest event that is known; None where all that is known answers."""
    newest = keeper.seen_upto()
    return moment if moment and newest and moment <= newest else None


async def answered(keeper: Keeper, work: Callable[[], Answer]) -> Answer:
    """Return what the work gives, done beside the requests that take no time. Raises TooSlowError."""

    def bounded() -> Answer:
        with deadlines.within(keeper.settings.serve.deadline_seconds):
            return work()

    return await run_in_threadpool(bounded)
