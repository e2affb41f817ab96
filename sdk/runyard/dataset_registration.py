"""Datasets that a workspace keeps: registering and finding them, and what the server's records stand for."""

import uuid
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional

from runyard.errors import UserErrorException
from runyard.names import check_dataset_name, checked_pairs
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.datasets import TABULAR, DatasetDefinition, DatasetRecord, DatasetSource, DatasetSpec
from runyard.transport.base import Transport, url_path

if TYPE_CHECKING:
    from runyard.abstract_dataset import AbstractDataset, Source
    from runyard.workspace import Workspace


def register(
    workspace: "Workspace",
    dataset: "AbstractDataset",
    name: str,
    description: Optional[str],
    tags: Optional[Mapping[str, Any]],
    create_new_version: bool,
) -> DatasetRecord:
    """Keeps a dataset as a version of ``name``."""
    _check_places(workspace, dataset)
    spec = DatasetSpec(
        id=str(uuid.uuid4()),
        definition=dataset.to_definition(),
        name=check_dataset_name(name),
        description=description,
        tags=checked_pairs(tags),
        create_new_version=bool(create_new_version),
    )
    return from_json(DatasetRecord, workspace.transport.call("POST", "/datasets", json=to_json(spec)))


def keep(workspace: "Workspace", dataset: "AbstractDataset") -> DatasetRecord:
    """Keeps a dataset that has no name by its id, so that a run can be given it."""
    _check_places(workspace, dataset)
    spec = DatasetSpec(id=str(uuid.uuid4()), definition=dataset.to_definition())
    return from_json(DatasetRecord, workspace.transport.call("POST", "/datasets", json=to_json(spec)))


def by_name(workspace: "Workspace", name: str, version: Any = "latest") -> "AbstractDataset":
    """A registered dataset, its newest version for "latest" or None."""
    return from_record(workspace, fetched(workspace.transport, name, version))


def fetched(transport: Transport, name: str, version: Any = "latest") -> DatasetRecord:
    """The record of a registered dataset."""
    parts = ["datasets", check_dataset_name(name)]
    if version not in (None, "latest"):
        if isinstance(version, bool) or not str(version).isdigit():
            raise UserErrorException(
                "A dataset's version is a whole number from 1, or 'latest'; this is {!r}.".format(version)
            )
        parts.append(str(version))
    return from_json(DatasetRecord, transport.call("GET", url_path(*parts)))


def by_id(workspace: "Workspace", id: str) -> "AbstractDataset":
    """The dataset of that id."""
    said = workspace.transport.call("GET", url_path("dataset-ids", str(id).lower()))
    return from_record(workspace, from_json(DatasetRecord, said))


def newest(workspace: "Workspace") -> "Dict[str, AbstractDataset]":
    """Name to the newest version of each registered dataset."""
    found = [from_json(DatasetRecord, said) for said in workspace.transport.call("GET", "/datasets")["datasets"]]
    return {str(record.name): from_record(workspace, record) for record in found}


def of_run(transport: Transport, run_id: str) -> List[DatasetRecord]:
    """What a run registered."""
    said = transport.call("GET", "/datasets", query={"run_id": run_id})
    return [from_json(DatasetRecord, each) for each in said["datasets"]]


def change(workspace: "Workspace", record: DatasetRecord, said: Mapping[str, Any]) -> DatasetRecord:
    """Changes tags or the description of a registered version."""
    path = url_path("datasets", str(record.name), str(record.version))
    return from_json(DatasetRecord, workspace.transport.call("PATCH", path, json=dict(said)))


def unregister(workspace: "Workspace", name: str) -> None:
    """Takes all versions of a name from the workspace."""
    workspace.transport.call("DELETE", url_path("datasets", name))


def from_record(workspace: "Workspace", record: DatasetRecord) -> "AbstractDataset":
    """The dataset that a record stands for."""
    from runyard.file_dataset import FileDataset
    from runyard.tabular_dataset import TabularDataset

    sources = _sources(workspace, record.definition)
    made: AbstractDataset
    if record.definition.kind == TABULAR:
        made = TabularDataset.from_table(sources, str(record.definition.table), record.definition.partition_format)
    else:
        made = FileDataset(sources, record.definition.partition_format)
    made._bind(workspace, record)
    return made


def wire_sources(dataset: "AbstractDataset") -> List[DatasetSource]:
    """Where a dataset's files are, as it goes over the wire."""
    return [
        DatasetSource(address=source)
        if isinstance(source, str)
        else DatasetSource(datastore=source.datastore.name, path=source.path_on_datastore)
        for source in dataset._sources
    ]


def _sources(workspace: "Workspace", definition: DatasetDefinition) -> "List[Source]":
    from runyard.datapath import DataPath
    from runyard.datastore import Datastore

    known: Dict[str, Datastore] = {}
    found: List[Source] = []
    for source in definition.sources:
        if source.address is not None:
            found.append(source.address)
            continue
        name = str(source.datastore)
        if name not in known:
            known[name] = Datastore(workspace, name)
        found.append(DataPath(known[name], source.path))
    return found


def _check_places(workspace: "Workspace", dataset: "AbstractDataset") -> None:
    for source in dataset._sources:
        if not isinstance(source, str) and source.datastore.workspace.name != workspace.name:
            raise UserErrorException(
                "The datastore '{}' belongs to the workspace '{}', the dataset is to be kept in '{}'. Keep it where its data "
                "is.".format(source.datastore.name, source.datastore.workspace.name, workspace.name)
            )
