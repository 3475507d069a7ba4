"""The page at /, its files, and the chart library."""

from functools import cache
from importlib.resources import files

from fastapi import FastAPI, Response
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from lambda_spark.vega import vega_script

_LICENSE = "Vega, Vega-Lite, vega-embed (BSD 3-clause) and D3 (ISC): /page/vega-license.txt"
_FOLDER = files("lambda_spark.api").joinpath("page")


def install(app: FastAPI) -> None:
    """Serve them."""
    app.add_api_route("/", _index, include_in_schema=False)
    app.add_api_route("/page/vega.js", _vega, include_in_schema=False)
    app.mount("/page", StaticFiles(directory=str(_FOLDER)), name="page")


async def _index() -> Response:
    return FileResponse(str(_FOLDER.joinpath("index.html")))


def _vega() -> Response:
    return Response(_script(), media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})


@cache
def _script() -> bytes:
    return f"/*! {_LICENSE} */\n{vega_script()}".encode()
