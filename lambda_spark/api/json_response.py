"""Answers as JSON: instants in UTC that end in Z, ids as text, since JavaScript rounds the 19 digits that some have."""

import orjson
from fastapi import Response

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY


def render(content: object, status: int = 200, media_type: str = "application/json") -> Response:
    """Return the response with that content."""
    return Response(dump(content), status, media_type=media_type)


def dump(content: object) -> bytes:
    """Return the content as JSON."""
    return orjson.dumps(content, option=_OPTIONS)
