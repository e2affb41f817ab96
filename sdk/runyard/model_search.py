"""Finding models: from what a person asks for to the records of the server."""

import json
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Tuple, Union

from runyard.errors import ModelNotFoundException, UserErrorException
from runyard.names import check_model_name
from runyard.protocol.codec import from_json
from runyard.protocol.models import ModelRecord
from runyard.transport.base import url_path

if TYPE_CHECKING:
    from runyard.transport.base import Transport

Pairs = Union[None, str, Mapping[str, Any], Iterable[Any]]


def filters(
    name: Optional[str],
    version: Any,
    tags: Pairs,
    properties: Pairs,
    run_id: Optional[str],
    framework: Optional[str],
) -> Dict[str, Any]:
    """The query that asks for them; None for what does not matter.

    Raises:
        ModelException: a name against the rules.
        UserErrorException: a version or a filter that is none.
    """
    return {
        "name": None if name is None else check_model_name(name),
        "version": None if version is None else _number(version),
        "tags": _pairs(tags),
        "properties": _pairs(properties),
        "run_id": run_id,
        "framework": framework,
    }


def newest(transport: "Transport", wanted: Mapping[str, Any]) -> ModelRecord:
    """The newest model that matches.

    Raises:
        ModelNotFoundException: none does; says which there are.
    """
    asked = {key: value for key, value in wanted.items() if value is not None}
    if not asked:
        raise UserErrorException(
            "Model(workspace, ...) needs a name, an id, tags, properties, a run_id or a model_framework."
        )
    if set(asked) <= {"name", "version"} and "name" in asked:
        return fetched(transport, asked["name"], asked.get("version"))
    found = transport.call("GET", "/models", query=dict(asked, limit=1))["models"]
    if found:
        return from_json(ModelRecord, found[0])
    there = transport.call("GET", "/models", query={"latest": True, "limit": 20})["models"]
    raise ModelNotFoundException(
        "ModelNotFound: No model matches {}. There are: {}.".format(
            ", ".join("{}={}".format(key, value) for key, value in asked.items()),
            ", ".join(item["id"] for item in there) or "none",
        )
    )


def fetched(transport: "Transport", name: str, version: Optional[int] = None) -> ModelRecord:
    """One version with its files, the newest where ``version`` is None.

    Raises:
        ModelNotFoundException: there is none; says which names or versions there are.
    """
    parts = ("models", name) if version is None else ("models", name, str(version))
    return from_json(ModelRecord, transport.call("GET", url_path(*parts)))


def all_pages(transport: "Transport", wanted: Mapping[str, Any]) -> List[ModelRecord]:
    """All models that match, newest first."""
    query = dict(wanted)
    found: List[ModelRecord] = []
    while True:
        page = transport.call("GET", "/models", query=query)
        found.extend(from_json(ModelRecord, item) for item in page["models"])
        if page["next"] is None:
            return found
        query["after"] = page["next"]


def name_and_version(id: str) -> Tuple[str, int]:
    """What an id (``name:version``) says.

    Raises:
        UserErrorException: it is no such id.
    """
    name, colon, version = str(id).partition(":")
    if not colon or not version.isdigit():
        raise UserErrorException("A model's id is 'name:version', such as 'tf-dnn-mnist:1'; this is {!r}.".format(id))
    return name, int(version)


def _number(version: Any) -> int:
    if isinstance(version, int) or (isinstance(version, str) and version.isdigit()):
        return int(version)
    raise UserErrorException("A model's version is a whole number from 1; this is {!r}.".format(version))


def _pairs(wanted: Pairs) -> Optional[str]:
    """A filter as it is sent: JSON of keys and ``[key, value]`` pairs; None for no filter."""
    if not wanted:
        return None
    if isinstance(wanted, str):
        items: List[Any] = [wanted]
    elif isinstance(wanted, Mapping):
        items = [[str(key), str(value)] for key, value in wanted.items()]
    else:
        items = [item if isinstance(item, str) else [str(part) for part in item] for item in wanted]
    if any(not isinstance(item, str) and len(item) != 2 for item in items):
        raise UserErrorException(
            "A filter is a list of keys and [key, value] pairs, such as ['final', ['kind', 'cnn']]; "
            "this is {!r}.".format(wanted)
        )
    return json.dumps(items)
