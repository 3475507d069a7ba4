"""A plain FastAPI app under the uvicorn of lambda-spark: a constant, or one row of answers by its key from SQLite.

The look-up is how Gorse answers: everything was computed before, and is read unchanged.
"""

import argparse
import sqlite3
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response

_JSON = "application/json"


def main() -> None:
    """Parse the options and serve."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--answers", type=Path, help="the SQLite file")
    args = options.parse_args()
    app = FastAPI(docs_url=None, redoc_url=None)
    if args.answers:
        add_look_up(app, args.answers)
    else:
        add_constant(app)
    uvicorn.run(app, port=args.port, access_log=False, log_level="warning", server_header=False)


def add_constant(app: FastAPI) -> None:
    """Answer /constant."""

    @app.get("/constant")
    async def constant() -> Response:
        return Response(b'{"status":"live"}', media_type=_JSON)


def add_look_up(app: FastAPI, answers: Path) -> None:
    """Answer /users/{user_id}/recommendations."""
    connection = sqlite3.connect(f"file:{answers}?mode=ro&immutable=1", uri=True)

    @app.get("/users/{user_id}/recommendations")
    async def recommendations(user_id: int) -> Response:
        found = connection.execute("SELECT answer FROM recommendations WHERE user_id = ?", (user_id,)).fetchone()
        return Response(found[0] if found else b"[]", 200 if found else 404, media_type=_JSON)


if __name__ == "__main__":
    main()
