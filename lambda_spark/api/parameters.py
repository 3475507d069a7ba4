"""The parameters of requests, read before anything is done, so that whoever mistypes one is told which and how.

What is asked: a window and a moment, from the parameters of a request.

Routes that are answered at once where nothing is asked but what the path says.
"""

import re
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from starlette.concurrency import run_in_threadpool

from lambda_spark import engine
from lambda_spark.api.view_cache import ViewCache
from lambda_spark.api.windows import Known, WindowQuery
from lambda_spark.delta.event_log import event_days
from lambda_spark.errors import LambdaSparkError, NotComputedError, TimeRangeError
from lambda_spark.time_ranges import TimeRange, bucket_name, format_instant, parse_bucket, parse_instant
from lambda_spark.trends.windows import resolve_request

# Longer than any instant or bucket that is written down.
_MOST_CHARACTERS = 40
_INT64 = range(-(2**63), 2**63)
Value = TypeVar("Value")


async def check_names(request: Request) -> None:
    """Refuse a parameter that the route does not know: the answer would be that to another question.

    And one that is given twice, of which one only would count. Raises RequestValidationError.
    """
    if not request.scope["query_string"]:
        return
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    given = request.query_params.multi_items()
    times = Counter(name for name, _ in given)
    for name, value in given:
        if name not in known:
            raise _refused(name, value, "There is no such parameter here", _what_is_meant(name, known))
        if times[name] > 1:
            raise _refused(name, value, "It is given more than once", "Give it once.")


def _what_is_meant(name: str, known: list[str]) -> str:
    if close := get_close_matches(name, known, 1):
        return f"Write {close[0]}."
    return f"There are {', '.join(known)}." if known else "Leave it out: there are none."


def _refused(name: str, value: str, what: str, remedy: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("query", name), "msg": what, "input": value, "ctx": {"remedy": remedy}}])


def _read(parse: Callable[[str], Value]) -> BeforeValidator:
    """Return what reads a text by a rule of ours, whose sentence says what is wrong, a colon, and what to do."""

    def read(text: str) -> Value:
        if len(text) > _MOST_CHARACTERS:
            raise PydanticCustomError("too_long", "This is too long", {"max_length": _MOST_CHARACTERS})
        try:
            return parse(text)
        except LambdaSparkError as error:
            what, _, remedy = str(error).partition(": ")
            remedy = remedy[:1].upper() + remedy[1:]
            raise PydanticCustomError("text", "{what}", {"what": what, "remedy": remedy}) from error

    return BeforeValidator(read)


def _read_id(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or int(text) not in _INT64:
        raise PydanticCustomError("id", "This is no 64-bit integer", {"remedy": "Write an id as its digits alone."})
    return int(text)


def _id_like(example: int) -> WithJsonSchema:
    bounds = {"minimum": _INT64[0], "maximum": _INT64[-1]}
    return WithJsonSchema({"type": "integer", "format": "int64", **bounds, "examples": [example]})


def _text_like(example: str, kind: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "format": kind, "maxLength": _MOST_CHARACTERS, "examples": [example]})


UserId = Annotated[int, BeforeValidator(_read_id), _id_like(512006836), Path(description="The user's id.")]
ProductId = Annotated[int, BeforeValidator(_read_id), _id_like(17629691), Path(description="The product's id.")]

Start = Annotated[
    datetime | None,
    _read(parse_instant),
    _text_like("2019-11-24", "instant"),
    Query(alias="from", description="Start of the range, a date or instant in UTC."),
]

End = Annotated[
    datetime | None,
    _read(parse_instant),
    _text_like("2019-12-01", "instant"),
    Query(alias="to", description="End of the range, not in it any more."),
]

AsOf = Annotated[
    datetime | None,
    _read(parse_instant),
    _text_like("2019-12-01T12:00:00Z", "instant"),
    Query(description="The moment as of which to answer, a date or instant in UTC."),
]

Bucket = Annotated[
    str | None,
    _read(lambda text: bucket_name(parse_bucket(text))),
    _text_like("day", "bucket"),
    Query(description="day, hour, or an interval such as '10 minutes'."),
]

# Two weeks of ten minutes.
MOST_BUCKETS = 2_016
Answer = TypeVar("Answer")


class Span(NamedTuple):
    """The parameters of a request that name a window."""

    start: datetime | None = None
    end: datetime | None = None
    bucket: str | None = None
    as_of: datetime | None = None


def require_known(keeper: ViewCache) -> Known:
    """Return what is known. Raises NotComputedError."""
    if keeper.known is None:
        raise NotComputedError(keeper.cause)
    return keeper.known


def resolve(keeper: ViewCache, now: Known, span: Span) -> tuple[WindowQuery, tuple[str, ...]]:
    """Return the window that is asked for, and what a person should be told of it.

    Without a range it is the last complete days, from all that is known; a range is answered as of its end, unless
    another moment is given. Raises TimeRangeError.
    """
    root = keeper.settings.data_root
    asked, as_of = _range(span), span.as_of
    trends = keeper.settings.trends
    days = event_days(root, now.counts.version, as_of) if as_of else now.days
    request = resolve_request(trends.model_copy(update={"bucket": span.bucket or trends.bucket}), asked, days)
    _check_length(request.range, request.bucket)
    notes = list(request.notes)
    if as_of and as_of < request.range.end:
        notes.insert(0, f"Answered as of {format_instant(as_of)}: what came after it is not counted.")
    moment = as_of or (request.range.end if asked else None)
    return WindowQuery(request.range, request.bucket, past_moment(keeper, moment)), tuple(notes)


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


def past_moment(keeper: ViewCache, moment: datetime | None) -> datetime | None:
    """Return the moment if it lies before the newest event that is known; None where all that is known answers."""
    newest = keeper.seen_upto()
    return moment if moment and newest and moment <= newest else None


async def run_with_deadline(keeper: ViewCache, work: Callable[[], Answer]) -> Answer:
    """Return what the work gives, done beside the requests that take no time. Raises TooSlowError."""

    def bounded() -> Answer:
        with engine.time_limit(keeper.settings.serve.deadline_seconds):
            return work()

    return await run_in_threadpool(bounded)


# Fewer than the largest id has, so that no limit has to be looked at.
_MOST_DIGITS = 18


class QuickRoute(APIRoute):
    """A route whose path has nothing but ids; other parameters have defaults, and what it depends on is about these.

    Without a query it is called with the defaults: FastAPI takes a third of the time of an answer to find that each of
    them is missing. Whatever else is asked, and what is no plain id, goes FastAPI's way.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handle, endpoint = super().get_route_handler(), self.endpoint

        async def answer(request: Request) -> Response:
            ids = request.path_params
            if request.scope["query_string"] or not all(map(_is_plain, ids.values())):
                return await handle(request)
            response: Response = await endpoint(request, **{name: int(text) for name, text in ids.items()})
            return response

        return answer


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
