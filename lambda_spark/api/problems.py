"""Everything that goes wrong, as application/problem+json (RFC 9457) that names the field, its value and the remedy."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from lambda_spark.api.json_response import render
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

# What each error of ours is called, and its status.
_TYPES: Mapping[type[LambdaSparkError], tuple[str, int]] = {
    UnknownUserError: ("unknown-user", 404),
    UnknownProductError: ("unknown-product", 404),
    TimeRangeError: ("bad-range", 422),
    NotComputedError: ("not-ready", 503),
    TooSlowError: ("too-slow", 503),
}
_BY_STATUS = {401: "unauthorized", 404: "not-found", 405: "method-not-allowed", 429: "too-many-requests"}

# The parameters that name a window and a moment.
_SPAN = ("from", "to", "bucket", "as_of")

_log = logging.getLogger(__name__)


class Problem(BaseModel):
    """What went wrong. `fallback` is where to ask instead."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/problems/bad-parameter",
                "title": "Bad parameter",
                "status": 422,
                "detail": "n: Input should be less than or equal to 50.",
                "field": "n",
                "value": "500",
                "remedy": "Ask for at most 50.",
                "fallback": None,
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


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "content": {MEDIA_TYPE: {}}, "description": text}
    for status, text in (
        (401, "The bearer token is missing or another."),
        (404, "Nothing is known of what was asked for."),
        (422, "A parameter or a range that cannot be answered."),
        (429, "More requests than a client may send in a second."),
        (503, "Nothing can be answered yet, or not in time."),
    )
}


def problem(kind: str, status: int, detail: str, **other: str | None) -> Response:
    """Return the response that says so; `other` are the fields of Problem."""
    title = kind.replace("-", " ").capitalize()
    body = Problem(type=f"/problems/{kind}", title=title, status=status, detail=detail, **other)
    return render(body.model_dump(exclude_none=True), status, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the application in this way."""
    app.add_exception_handler(LambdaSparkError, _ours)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _fault)


def _ours(request: Request, error: Exception) -> Response:
    kind, status = _TYPES.get(type(error), ("fault", 500))  # type: ignore[arg-type]
    # Jobs' sentences: what is wrong, a colon, what to do; the options of jobs have the names of parameters here.
    sentence = str(error).replace("--", "").replace("as-of", "as_of")
    detail, _, remedy = sentence.replace(f" in {request.app.state.keeper.settings.data_root}", "").partition(": ")
    fields = dict(zip(("field", "value"), _place_of(kind, request), strict=True))
    fallback = f"{request.url.path}?fallback=true" if kind == "unknown-user" else None
    remedy = remedy[:1].upper() + remedy[1:]
    return problem(kind, status, detail.rstrip(".") + ".", **fields, remedy=remedy or None, fallback=fallback)


def _place_of(kind: str, request: Request) -> tuple[str | None, str | None]:
    """Return the parameter that an error is about, and its value."""
    if kind.startswith("unknown-"):
        name = kind.removeprefix("unknown-") + "_id"
        return name, request.path_params.get(name)
    given = {name: request.query_params[name] for name in _SPAN if name in request.query_params}
    return ", ".join(given) or None, ", ".join(given.values())[:_MOST_CHARACTERS] or None


def _bad_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field, value = str(first["loc"][-1]), str(first["input"])[:_MOST_CHARACTERS]
    limits = first.get("ctx", {})
    bounds = [f"at {word} {limits[name]}" for name, word in (("ge", "least"), ("le", "most")) if name in limits]
    remedy = f"Give {' and '.join(bounds)}." if bounds else f"See /openapi.json for what {field} may be."
    return problem("bad-parameter", 422, f"{field}: {first['msg']}.", field=field, value=value, remedy=remedy)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, "fault")
    phrase = HTTPStatus(error.status_code).phrase
    response = problem(kind, error.status_code, f"{phrase}: {request.method} {request.url.path[:_MOST_CHARACTERS]}.")
    response.headers.update(error.headers or {})
    return response


def _fault(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed.", request.method, request.url.path, exc_info=error)
    return problem("fault", 500, "The server could not answer.", remedy="Its log says why.")
