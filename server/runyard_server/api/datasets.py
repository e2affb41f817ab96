"""Datasets that the workspace keeps: register, list, look, change, unregister."""

from typing import Annotated, Any

from fastapi import Request
from pydantic import Field

from runyard.protocol.codec import to_json
from runyard.protocol.datasets import DatasetChanges, DatasetSpec
from runyard_server.api.context import services
from runyard_server.routes import Routes

router = Routes()

Version = Annotated[int, Field(ge=1, le=(1 << 31) - 1)]


@router.get("/datasets")
def list_datasets(request: Request, run_id: str | None = None) -> Any:
    """The newest version of each registered dataset, or what a run registered: ``{"datasets": [...]}``."""
    return {"datasets": to_json(services(request).datasets.list(run_id))}


@router.post("/datasets")
def keep(spec: DatasetSpec, request: Request) -> Any:
    """Keeps a dataset; what is its name's newest version already gives that version."""
    return to_json(services(request).datasets.keep(spec, request.state.identity.run_id))


@router.get("/dataset-ids/{dataset_id}")
def by_id(dataset_id: str, request: Request) -> Any:
    """The dataset of that id, whether it has a name or not."""
    return to_json(services(request).datasets.by_id(dataset_id))


@router.get("/datasets/{name}")
def newest(name: str, request: Request) -> Any:
    """The newest version of a dataset."""
    return to_json(services(request).datasets.get(name))


@router.get("/datasets/{name}/versions")
def versions(name: str, request: Request) -> Any:
    """All versions of a dataset, the oldest first: ``{"datasets": [...]}``."""
    return {"datasets": to_json(services(request).datasets.versions(name))}


@router.get("/datasets/{name}/{version}")
def get(name: str, version: Version, request: Request) -> Any:
    """One version of a dataset."""
    return to_json(services(request).datasets.get(name, version))


@router.patch("/datasets/{name}/{version}")
def change(name: str, version: Version, changes: DatasetChanges, request: Request) -> Any:
    """Tags and description of one version."""
    return to_json(services(request).datasets.change(name, version, changes))


@router.delete("/datasets/{name}")
def unregister(name: str, request: Request) -> Any:
    """Takes all versions of a dataset from the lists; the data stays."""
    services(request).datasets.unregister(name)
    return {}
