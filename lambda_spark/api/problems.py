"""Answers as JSON: instants in UTC that end in Z, ids as text, since JavaScript rounds the 19 digits that some have.

Everything that goes wrong, as application/problem+json (RFC 9457) that names the field, its value and the remedy.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from lambda_spark.errors import (
    LambdaSparkError,
    NotComputedError,
    TimeRangeError,
    TooSlowError,
    UnknownProductError,
    UnknownUserError,
)

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY


def render(content: object, status: int = 200, media_type: str = "application/json") -> Response:
    """Return the response with that content."""
    return Response(dump(content), status, media_type=media_type)


def dump(content: object) -> bytes:
    """Return the content as JSON."""
    return orjson.dumps(content, option=_OPTIONS)


MEDIA_TYPE = "application/problem+json"
_MOST_CHARACTERS = 200

# What each error of ours is called, and its status.
_TYPES: Mapping[type[LambdaSparkError], tuple[str, int]] = {
    UnknownUserError: ("unknown-user", 404),
    UnknownProductError: ("unknown-product", 404),
    TimeRangeError: ("bad-range", 422),
    NotComputedError: ("not-ready", 503),
    TooSlowError: ("too-slow", 503),
}

# The parameters that name a window and a moment.
_SPAN = ("from", "to", "bucket", "as_of")

# What pydantic says of a value, and what to do about it; limits say it themselves.
_REMEDIES = {
    "ge": "Give at least {}.",
    "le": "Give at most {}.",
    "max_length": "Give at most {} characters.",
    "expected": "Give one of {}.",
    "remedy": "{}",
}

_WHOLE = "Give a whole number."
_REMEDIES_BY_TYPE = {"int_parsing": _WHOLE, "int_parsing_size": _WHOLE, "bool_parsing": "Give true or false."}


class Cause(BaseModel):
    """Why nothing can be answered yet, and what to run."""

    cause: str
    remedy: str


class Problem(BaseModel):
    """What went wrong. `fallback` is where to ask instead, `causes` is all that keeps the server from answering."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/problems/bad-parameter",
                "title": "Bad parameter",
                "status": 422,
                "detail": "n: Input should be less than or equal to 50.",
                "field": "n",
                "value": "500",
                "remedy": "Give at most 50.",
            }
        }
    )

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    value: str | None = None
    remedy: str | None = None
    fallback: str | None = None
    causes: list[Cause] | None = None


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in (
        (401, "The bearer token is missing or another."),
        (404, "Nothing is known of what was asked for."),
        (422, "A parameter or a range that cannot be answered."),
        (429, "More requests than a client may send in a second."),
        (503, "Nothing can be answered yet, or not in time."),
    )
}


def problem(
    kind: str, status: int, detail: str, causes: Sequence[Cause] | None = None, **other: str | None
) -> Response:
    """Return the response that says so; `other` are the fields of Problem."""
    title = kind.replace("-", " ").capitalize()
    body = Problem(type=f"/problems/{kind}", title=title, status=status, detail=detail, causes=causes, **other)
    return render(body.model_dump(exclude_none=True), status, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the application in this way."""
    app.add_exception_handler(LambdaSparkError, _ours)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(HTTPException, _http)


def cause_of(sentence: str, root: str) -> Cause:
    """Divide a sentence of ours, which says what is wrong, a colon, and what to do.

    Where the tables are is nobody's business, and the options of jobs have the names of parameters here.
    """
    for told, here in ((f"{root}/", ""), (f" in {root}", ""), ("--", ""), ("as-of", "as_of")):
        sentence = sentence.replace(told, here)
    cause, _, remedy = sentence.partition(": ")
    return Cause(cause=cause.rstrip(".") + ".", remedy=remedy[:1].upper() + remedy[1:])


def _ours(request: Request, error: Exception) -> Response:
    kind, status = _TYPES[type(error)]  # type: ignore[index]
    why = cause_of(str(error), request.app.state.keeper.settings.data_root)
    field, value = _place_of(kind, request)
    fallback = f"/v1/users/{value}/recommendations?fallback=true" if kind == "unknown-user" else None
    return problem(kind, status, why.cause, field=field, value=value, remedy=why.remedy or None, fallback=fallback)


def _place_of(kind: str, request: Request) -> tuple[str | None, str | None]:
    """Return the parameter that an error is about, and its value; it has none where it is missing."""
    if kind.startswith("unknown-"):
        name = kind.removeprefix("unknown-") + "_id"
        return name, request.path_params[name]
    given = {name: request.query_params[name] for name in _SPAN if name in request.query_params}
    missing = {"from", "to"} - set(given)
    if kind == "bad-range" and len(missing) == 1:
        return missing.pop(), None
    return ", ".join(given) or None, ", ".join(given.values()) or None


def _bad_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field, value = str(first["loc"][-1])[:_MOST_CHARACTERS], str(first["input"])[:_MOST_CHARACTERS]
    limits = first.get("ctx", {})
    known = [text.format(limits[name]) for name, text in _REMEDIES.items() if name in limits]
    remedy = next(iter(known), None) or _REMEDIES_BY_TYPE.get(first.get("type", "")) or "See /openapi.json."
    return problem("bad-parameter", 422, f"{field}: {first['msg']}.", field=field, value=value, remedy=remedy)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase, headers = HTTPStatus(error.status_code).phrase, error.headers or {}
    kind, place = phrase.lower().replace(" ", "-"), request.url.path[:_MOST_CHARACTERS]
    remedy = f"Ask with {headers['Allow']}." if "Allow" in headers else "/openapi.json lists what there is."
    response = problem(kind, error.status_code, f"{phrase}: {request.method} {place}.", remedy=remedy)
    response.headers.update(headers)
    return response
