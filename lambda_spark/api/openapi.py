"""The API's description: what FastAPI makes of the routes, with problems, the token and examples as they are."""

import json
from importlib.resources import files
from typing import Any

from fastapi import FastAPI

from lambda_spark.api.problems import MEDIA_TYPE

_EXAMPLES = files("lambda_spark.api").joinpath("examples.json")
_SCHEME = {"token": {"type": "http", "scheme": "bearer"}}
_OPEN = ("/health/live", "/health/ready")


def install(app: FastAPI, has_token: bool) -> None:
    """Have the application describe itself in this way."""
    describe = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(describe(), has_token)
        return describe()

    app.openapi = described  # type: ignore[method-assign]


def _complete(description: dict[str, Any], has_token: bool) -> None:
    """Say that problems are of their own media type, where a token is needed, and what an answer looks like."""
    examples = json.loads(_EXAMPLES.read_bytes())
    if has_token:
        description["components"]["securitySchemes"] = _SCHEME
    for path, methods in description["paths"].items():
        operation = methods["get"]
        if has_token and path not in _OPEN:
            operation["security"] = [{name: [] for name in _SCHEME}]
        for status, response in operation["responses"].items():
            if status != "200":
                response["content"] = {MEDIA_TYPE: next(iter(response["content"].values()))}
        if path in examples:
            operation["responses"]["200"]["content"]["application/json"]["example"] = examples[path]
