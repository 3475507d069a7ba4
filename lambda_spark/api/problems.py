"""Errors as application/problem+json (RFC 9457), which names the field, its value and the remedy."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from lambda_spark.api.models import render
from lambda_spark.errors import (
    LambdaSparkError,
    NotComputedError,
    TimeRangeError,
    TooSlowError,
    UnknownProductError,
    UnknownUserError,
)

MEDIA_TYPE = "application/problem+json"
_MOST_CHARACTERS = 200

# The problem type and status of each error.
_TYPES_BY_ERROR: Mapping[type[LambdaSparkError], tuple[str, int]] = {
    UnknownUserError: ("unknown-user", 404),
    UnknownProductError: ("unknown-product", 404),
    TimeRangeError: ("bad-range", 422),
    NotComputedError: ("not-ready", 503),
    TooSlowError: ("too-slow", 503),
}

# The parameters that name a window and a moment.
_WINDOW_PARAMETERS = ("from", "to", "bucket", "as_of")

# The remedy by the field of pydantic's error context, which has the limit or the remedy itself.
_REMEDIES = {
    "ge": "Give at least {}.",
    "le": "Give at most {}.",
    "max_length": "Give at most {} characters.",
    "expected": "Give one of {}.",
    "remedy": "{}",
}

_REMEDIES_BY_TYPE = {
    "int_parsing": "Give a whole number.",
    "int_parsing_size": "Give a whole number.",
    "bool_parsing": "Give true or false.",
}


class Cause(BaseModel):
    """Why requests cannot be answered yet, and what to run."""

    cause: str
    remedy: str


class Problem(BaseModel):
    """What went wrong. `fallback` is a path to request instead, `causes` are all reasons for not being ready."""

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
        (401, "The bearer token is missing or wrong."),
        (404, "The user or the product is unknown."),
        (422, "A parameter or a range that cannot be answered."),
        (429, "More requests than a client may send in a second."),
        (503, "There is nothing to answer from yet, or the answer takes too long."),
    )
}


def problem(
    kind: str, status: int, detail: str, causes: Sequence[Cause] | None = None, **other: str | None
) -> Response:
    """Return the response for a problem; `other` are further fields of Problem."""
    title = kind.replace("-", " ").capitalize()
    body = Problem(type=f"/problems/{kind}", title=title, status=status, detail=detail, causes=causes, **other)
    return render(body.model_dump(exclude_none=True), status, MEDIA_TYPE)


def add_error_handlers(app: FastAPI) -> None:
    """Make the application answer every expected error with a problem."""
    app.add_exception_handler(LambdaSparkError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_bad_parameter)
    app.add_exception_handler(HTTPException, _answer_http_error)


def cause_of(sentence: str, root: str) -> Cause:
    """Split an error message at its colon into what is wrong and what to do.

    The path of the tables is removed, and the options of jobs become the parameters of the same name.
    """
    for text, replacement in ((f"{root}/", ""), (f" in {root}", ""), ("--", ""), ("as-of", "as_of")):
        sentence = sentence.replace(text, replacement)
    cause, _, remedy = sentence.partition(": ")
    return Cause(cause=cause.rstrip(".") + ".", remedy=remedy[:1].upper() + remedy[1:])


def _answer_error(request: Request, error: Exception) -> Response:
    kind, status = _TYPES_BY_ERROR[type(error)]  # type: ignore[index]
    cause = cause_of(str(error), request.app.state.views.settings.data_root)
    field, value = _parameter_of(kind, request)
    fallback = f"/v1/users/{value}/recommendations?fallback=true" if kind == "unknown-user" else None
    return problem(kind, status, cause.cause, field=field, value=value, remedy=cause.remedy or None, fallback=fallback)


def _parameter_of(kind: str, request: Request) -> tuple[str | None, str | None]:
    """Return the parameter that an error is about, and its value; None if it is missing."""
    if kind.startswith("unknown-"):
        name = kind.removeprefix("unknown-") + "_id"
        return name, request.path_params[name]
    given = {name: request.query_params[name] for name in _WINDOW_PARAMETERS if name in request.query_params}
    missing = {"from", "to"} - set(given)
    if kind == "bad-range" and len(missing) == 1:
        return missing.pop(), None
    return ", ".join(given) or None, ", ".join(given.values()) or None


def _answer_bad_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field, value = str(first["loc"][-1])[:_MOST_CHARACTERS], str(first["input"])[:_MOST_CHARACTERS]
    limits = first.get("ctx", {})
    remedies = [text.format(limits[name]) for name, text in _REMEDIES.items() if name in limits]
    remedy = next(iter(remedies), None) or _REMEDIES_BY_TYPE.get(first.get("type", "")) or "See /openapi.json."
    return problem("bad-parameter", 422, f"{field}: {first['msg']}.", field=field, value=value, remedy=remedy)


def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase, headers = HTTPStatus(error.status_code).phrase, error.headers or {}
    kind, path = phrase.lower().replace(" ", "-"), request.url.path[:_MOST_CHARACTERS]
    remedy = f"Ask with {headers['Allow']}." if "Allow" in headers else "/openapi.json lists what there is."
    response = problem(kind, error.status_code, f"{phrase}: {request.method} {path}.", remedy=remedy)
    response.headers.update(headers)
    return response
