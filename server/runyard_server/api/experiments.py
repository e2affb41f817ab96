"""Routes of experiments."""

from typing import Any, Literal

from fastapi import Request

from runyard.protocol.codec import to_json
from runyard.protocol.experiments import ExperimentChanges
from runyard_server.api.context import services
from runyard_server.routes import Routes

router = Routes()


@router.get("/experiments")
def list_experiments(request: Request, view: Literal["active", "archived", "all"] = "active") -> Any:
    """Experiments, oldest first."""
    return [to_json(record) for record in services(request).experiments.list(view)]


@router.put("/experiments/{name}")
def get_or_create(name: str, request: Request) -> Any:
    """The experiment of that name, made where there is none."""
    return to_json(services(request).experiments.get_or_create(name))


@router.get("/experiments/{name}")
def get(name: str, request: Request) -> Any:
    """One experiment, by name or id."""
    return to_json(services(request).experiments.get(name))


@router.patch("/experiments/{name}")
def change(name: str, changes: ExperimentChanges, request: Request) -> Any:
    """Tags, archive, name."""
    return to_json(services(request).experiments.change(name, changes))


@router.delete("/experiments/{name}")
def delete(name: str, request: Request) -> Any:
    """Deletes an experiment without runs."""
    services(request).experiments.delete(name)
    return {}
