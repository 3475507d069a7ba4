"""/health: whether the server lives, and whether it can answer; where not, why and what to do."""

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response

from lambda_spark.api import models, problems
from lambda_spark.api.json_response import render
from lambda_spark.api.keeper import Keeper
from lambda_spark.api.problems import Cause, cause_of, problem

_NO_BRANDS = "No user's brands are known yet: run jobs/speed_stream.py or jobs/batch_brands.py."

router = APIRouter(prefix="/health", tags=["operations"])


@router.get("/live", response_model=models.Health)
async def live() -> Response:
    """Whether the server lives."""
    return render({"status": "live"})


@router.get("/ready", response_model=models.Health, responses={503: problems.RESPONSES[503]})
async def ready(request: Request) -> Response:
    """Whether questions can be answered; where not, all causes and what to run."""
    causes = list(_causes(request.app.state.keeper))
    if causes:
        first = causes[0]
        return problem("not-ready", 503, first.cause, causes, remedy=first.remedy)
    return render({"status": "ready"})


def _causes(keeper: Keeper) -> Iterator[Cause]:
    root = keeper.settings.data_root
    if keeper.known is None or keeper.default is None:
        yield cause_of(keeper.cause, root)
    if not keeper.users.recent_users(1):
        yield cause_of(_NO_BRANDS, root)
