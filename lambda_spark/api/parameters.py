"""The parameters of requests: their types, and messages that name the parameter, its value and the remedy."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, TypeVar

from fastapi import Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from lambda_spark.errors import LambdaSparkError
from lambda_spark.time_ranges import bucket_name, parse_bucket, parse_instant

# Longer than any instant or bucket.
_MOST_CHARACTERS = 40
_INT64 = range(-(2**63), 2**63)
Value = TypeVar("Value")


async def check_names(request: Request) -> None:
    """Raise RequestValidationError if a parameter is unknown to the route, or given twice.

    FastAPI ignores both, and would answer another question than the one that was asked.
    """
    if not request.scope["query_string"]:
        return
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    given = request.query_params.multi_items()
    times = Counter(name for name, _ in given)
    for name, value in given:
        if name not in known:
            raise _refused(name, value, "There is no such parameter here", _suggestion(name, known))
        if times[name] > 1:
            raise _refused(name, value, "It is given more than once", "Give it once.")


def _suggestion(name: str, known: list[str]) -> str:
    if close := get_close_matches(name, known, 1):
        return f"Write {close[0]}."
    return f"There are {', '.join(known)}." if known else "Leave it out: there are none."


def _refused(name: str, value: str, what: str, remedy: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("query", name), "msg": what, "input": value, "ctx": {"remedy": remedy}}])


def _parsed_by(parse: Callable[[str], Value]) -> BeforeValidator:
    """Return the validator that parses a text; the message of an error is split at its colon into what and remedy."""

    def validate(text: str) -> Value:
        if len(text) > _MOST_CHARACTERS:
            raise PydanticCustomError("too_long", "This is too long", {"max_length": _MOST_CHARACTERS})
        try:
            return parse(text)
        except LambdaSparkError as error:
            what, _, remedy = str(error).partition(": ")
            remedy = remedy[:1].upper() + remedy[1:]
            raise PydanticCustomError("text", "{what}", {"what": what, "remedy": remedy}) from error

    return BeforeValidator(validate)


def _parse_id(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or int(text) not in _INT64:
        raise PydanticCustomError("id", "This isn't a 64-bit integer", {"remedy": "Write an id as its digits alone."})
    return int(text)


def _id_schema(example: int) -> WithJsonSchema:
    bounds = {"minimum": _INT64[0], "maximum": _INT64[-1]}
    return WithJsonSchema({"type": "integer", "format": "int64", **bounds, "examples": [example]})


def _text_schema(example: str, kind: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "format": kind, "maxLength": _MOST_CHARACTERS, "examples": [example]})


UserId = Annotated[int, BeforeValidator(_parse_id), _id_schema(512006836), Path(description="The user's id.")]
ProductId = Annotated[int, BeforeValidator(_parse_id), _id_schema(17629691), Path(description="The product's id.")]

Start = Annotated[
    datetime | None,
    _parsed_by(parse_instant),
    _text_schema("2019-11-24", "instant"),
    Query(alias="from", description="Start of the range, a date or instant in UTC."),
]

End = Annotated[
    datetime | None,
    _parsed_by(parse_instant),
    _text_schema("2019-12-01", "instant"),
    Query(alias="to", description="End of the range, exclusive, a date or instant in UTC."),
]

AsOf = Annotated[
    datetime | None,
    _parsed_by(parse_instant),
    _text_schema("2019-12-01T12:00:00Z", "instant"),
    Query(description="The moment as of which to answer, a date or instant in UTC."),
]

Bucket = Annotated[
    str | None,
    _parsed_by(lambda text: bucket_name(parse_bucket(text))),
    _text_schema("day", "bucket"),
    Query(description="day, hour, or an interval such as '10 minutes'."),
]
