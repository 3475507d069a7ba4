"""/health: whether the server lives, and whether it can answer; where not, why and what to do."""

from fastapi import APIRouter, Request, Response

from lambda_spark.api import problems
from lambda_spark.api.json_response import render
from lambda_spark.api.keeper import Keeper
from lambda_spark.api.questions import known
from lambda_spark.errors import NotComputedError

_NO_BRANDS = "No user's brands are known yet: run jobs/speed_stream.py or jobs/batch_brands.py."

router = APIRouter(prefix="/health", tags=["operations"])


@router.get("/live")
async def live() -> Response:
    """Whether the server lives."""
    return render({"status": "live"})


@router.get("/ready", responses={503: problems.RESPONSES[503]})
async def ready(request: Request) -> Response:
    """Whether questions can be answered."""
    keeper: Keeper = request.app.state.keeper
    known(keeper)
    if not keeper.users.recent_users(1):
        raise NotComputedError(_NO_BRANDS)
    if keeper.default is None:
        raise NotComputedError(keeper.cause)
    return render({"status": "ready"})
