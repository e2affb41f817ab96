"""The route of event files: their numbers into a run's metrics."""

from dataclasses import asdict
from typing import Any

from fastapi import Request

from runyard_server.api.context import services
from runyard_server.routes import Routes

router = Routes()


@router.post("/runs/{run_id}/tensorboard")
def take(run_id: str, request: Request) -> dict[str, Any]:
    """Takes the numbers of the run's event files that it has not in its metrics, or a part of them: ``more`` says so.

    ``{"files", "points", "metrics", "warnings", "more"}``.
    """
    return asdict(services(request).tensorboard.take(run_id))
