"""Routes that are answered at once where nothing is asked but what the path says."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

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
