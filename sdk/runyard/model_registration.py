"""Registering models: from a local file or folder, or from a run's files."""

import os
import uuid
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence

from runyard import model_files
from runyard.abstract_dataset import AbstractDataset
from runyard.errors import UserErrorException
from runyard.model_search import fetched, name_and_version
from runyard.names import check_model_name, checked_pairs
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.models import ModelRecord, ModelSpec

if TYPE_CHECKING:
    from runyard.digests import LocalFile
    from runyard.transport.base import Transport


def spec(
    model_name: str,
    tags: Optional[Mapping[str, Any]],
    properties: Optional[Mapping[str, Any]],
    description: Optional[str],
    framework: Optional[str],
    framework_version: Any,
    datasets: Any = None,
) -> ModelSpec:
    """What is registered, apart from its files. It carries a mark, so that sending it twice registers once.

    Raises:
        ModelException: the name is against the rules.
        UserErrorException: tags or properties that are not dicts of keys and values.
    """
    return ModelSpec(
        name=check_model_name(model_name),
        tags=checked_pairs(tags),
        properties=checked_pairs(properties, "property"),
        description=description,
        framework=framework,
        framework_version=None if framework_version is None else str(framework_version),
        datasets=uses(datasets),
        request_id=uuid.uuid4().hex,
    )


def from_run(transport: "Transport", asked: ModelSpec, run_id: str, model_path: Optional[str]) -> ModelRecord:
    """Registers a file or folder among a run's files; ``model_path`` None for the model's name."""
    body: Dict[str, Any] = to_json(asked)
    body.update(run_id=run_id, model_path=_plain(model_path) if model_path else asked.name)
    return from_json(ModelRecord, transport.call("POST", "/models", json=body))


def from_local(
    transport: "Transport", asked: ModelSpec, model_path: str, child_paths: Optional[Sequence[str]]
) -> ModelRecord:
    """Registers a file or folder of this machine; its bytes are sent if the store lacks them.

    Raises:
        ModelPathNotFoundException: no such file or folder.
        ModelException: an empty folder.
    """
    from runyard import transfer

    root, files = model_files.to_register(model_path, child_paths)
    body: Dict[str, Any] = to_json(asked)

    def commit(found: Sequence["LocalFile"]) -> Any:
        listed = [
            {"path": file.name, "size": file.size, "digest": file.digest, "executable": file.executable}
            for file in found
        ]
        return transport.call("POST", "/models", json=dict(body, root=root, files=listed))

    print("Registering model {}".format(asked.name))
    name, version = name_and_version(transfer.send_model(transport, files, commit))
    return fetched(transport, name, version)


def refuse_unsupported(sample_input: Any, sample_output: Any, resources: Any) -> None:
    """Raises UserErrorException for what Azure's registry keeps and this one does not."""
    if sample_input is not None or sample_output is not None:
        raise UserErrorException(
            "Samples of a model's input and output are not kept yet: they belong to its deployment. Register the dataset and "
            "name it in datasets=[('sample', dataset)]."
        )
    if resources is not None:
        raise UserErrorException("resource_configuration is not there yet. Leave it out.")


def uses(datasets: Any) -> List[List[str]]:
    """What ``datasets`` says as it is sent: pairs of what a dataset was for and its id.

    Raises:
        UserErrorException: something that is no such pair, or a dataset that the workspace does not keep.
    """
    found = []
    for item in datasets or ():
        if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(item[1], AbstractDataset):
            raise UserErrorException(
                "datasets is a list of pairs such as [(Dataset.Scenario.TRAINING, dataset)]; this is {!r:.100}.".format(
                    item
                )
            )
        if item[1].id is None:
            raise UserErrorException(
                "A model names datasets that the workspace keeps, and this one it does not: {!r}. Register it first: "
                "dataset.register(workspace, name).".format(item[1])
            )
        found.append([str(item[0]), item[1].id])
    return found


def text(values: Optional[Mapping[str, Any]], what: str) -> Optional[Dict[str, str]]:
    """Tags or properties (``what``) as they are sent, None where none are given."""
    return None if values is None else checked_pairs(values, what)


def _plain(model_path: str) -> str:
    """A path in a run's files as the server takes it: no ``./`` in front, no ``/`` at the end."""
    path = str(model_path).replace(os.sep, "/").rstrip("/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path
