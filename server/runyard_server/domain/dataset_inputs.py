"""Data sets that a run read, as MLflow's clients say it: each is a property of the run, found by three of its texts."""

import json
from collections.abc import Mapping
from typing import Any

PREFIX = "mlflow.dataset."  # of the property's name; behind it the digest and the name
CONTEXT = "mlflow.data.context"  # the tag that says what a run read a data set for
NAME, DIGEST, CONTEXT_OF = "name", "digest", "context"
ATTRIBUTES = (NAME, DIGEST, CONTEXT_OF)


def texts(properties: Mapping[str, Any]) -> list[tuple[str, str]]:
    """An attribute and a text for all that a run's data sets have, each once, in order."""
    found: list[tuple[str, str]] = []
    for key, value in properties.items():
        if key.startswith(PREFIX):
            found += _texts(_read(str(value)))
    return list(dict.fromkeys(found))


def _texts(said: Any) -> list[tuple[str, str]]:
    dataset, tags = (said.get("dataset"), said.get("tags")) if isinstance(said, dict) else (None, None)
    if not isinstance(dataset, dict):
        return []
    found = [(key, str(dataset[key])) for key in (NAME, DIGEST) if key in dataset]
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, dict) and tag.get("key") == CONTEXT:
            found.append((CONTEXT_OF, str(tag.get("value", ""))))
    return found


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # written by somebody who may write properties, too
        return None
