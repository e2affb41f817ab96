"""What registered models and their versions are called on MLflow's wire.

A stage is a tag of a version, an alias is kept with the name. Where the files of a version came from is a property of
it, for people to read: it is looked up once, when the version is made, and never opened.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from typing_extensions import TypedDict

from runyard.errors import ModelException
from runyard.names import check_model_name
from runyard.protocol.models import ModelRecord
from runyard_server.api.mlflow import words
from runyard_server.api.mlflow.failures import invalid
from runyard_server.domain.mlflow_filter import Comparison, holds
from runyard_server.domain.model_stages import STAGE as STAGE
from runyard_server.domain.model_stages import STAGES, stage_of
from runyard_server.services.model_names import ModelName

SHOWN_NAME = "mlflow.modelName"
IS_PROMPT = "mlflow.prompt.is_prompt"
SOURCE, RUN_LINK, MODEL_ID = "mlflow.source", "mlflow.runLink", "mlflow.modelId"
RUN_ID = "mlflow.runId"  # the run that a client named; the files may be another's


class AliasOfVersion(TypedDict):
    alias: str
    version: str


class ModelVersion(TypedDict, total=False):
    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    current_stage: str
    description: str
    source: str
    run_id: str
    run_link: str
    model_id: str
    status: str
    tags: list[words.Pair]
    aliases: list[str]


class RegisteredModel(TypedDict, total=False):
    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str
    latest_versions: list[ModelVersion]
    tags: list[words.Pair]
    aliases: list[AliasOfVersion]


def holds_of_tags(one: Comparison, tags: Mapping[str, str]) -> bool:
    """Whether a comparison holds of tags. MLflow's clients leave prompts out by a tag that models do not have at all."""
    if one.key == IS_PROMPT and one.sign == "!=":
        return tags.get(IS_PROMPT) != one.value
    return holds(one, tags)


def our_name(shown: str) -> str:
    """The name of ours for a model that MLflow's clients call ``shown``; the same one every time."""
    try:
        return check_model_name(shown)
    except ModelException:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", shown).strip("-_.")[:200]
        return f"{plain or 'model'}-{sha256(shown.encode('utf-8', 'replace')).hexdigest()[:8]}"


def shown_name(name: ModelName) -> str:
    return name.tags.get(SHOWN_NAME, name.name)


def version_number(text: str) -> int:
    """A version as MLflow writes it. Raises MlflowRefusal."""
    if not text.isdecimal() or not text.isascii() or len(text) > 9 or int(text) < 1:
        raise invalid(f"Parameter 'version' must be an integer, got '{text[:50]}'.")
    return int(text)


def checked_stage(text: str) -> str:
    """A stage, however its letters are written. Raises MlflowRefusal."""
    for known in STAGES:
        if known.lower() == text.lower():
            return known
    raise invalid(f"Invalid Model Version stage: {text[:50]}. Value must be one of {', '.join(STAGES)}.")


def stage(record: ModelRecord) -> str:
    return stage_of(record.tags)


def version(record: ModelRecord, name: ModelName) -> ModelVersion:
    found = ModelVersion(
        name=shown_name(name),
        version=str(record.version),
        creation_timestamp=words.milliseconds(record.created_at),
        last_updated_timestamp=words.milliseconds(record.changed_at or record.created_at),
        current_stage=stage(record),
        description=record.description or "",
        source=record.properties.get(SOURCE) or download_uri(record),
        run_id=record.properties.get(RUN_ID) or record.run_id or "",
        status="READY",
        tags=words.pairs({key: value for key, value in record.tags.items() if key != STAGE}),
        aliases=sorted(alias for alias, number in name.aliases.items() if number == record.version),
    )
    if RUN_LINK in record.properties:
        found["run_link"] = record.properties[RUN_LINK]
    if MODEL_ID in record.properties:
        found["model_id"] = record.properties[MODEL_ID]
    return found


def registered(name: ModelName, latest: list[ModelVersion]) -> RegisteredModel:
    return RegisteredModel(
        name=shown_name(name),
        creation_timestamp=words.milliseconds(name.created_at),
        last_updated_timestamp=words.milliseconds(name.changed_at),
        description=name.description or "",
        latest_versions=latest,
        tags=words.pairs({key: value for key, value in name.tags.items() if key != SHOWN_NAME}),
        aliases=[AliasOfVersion(alias=alias, version=str(number)) for alias, number in sorted(name.aliases.items())],
    )


def download_uri(record: ModelRecord) -> str:
    """Where MLflow's clients fetch the files of a version: what was registered is the uppermost folder there."""
    root = f"/{record.root}" if record.root else ""
    return f"mlflow-artifacts:/models/{record.name}/{record.version}{root}"


def properties(source: str, run_id: str | None, run_link: str | None, model_id: str | None) -> dict[str, Any]:
    told = {SOURCE: source, RUN_ID: run_id, RUN_LINK: run_link, MODEL_ID: model_id}
    return {key: value for key, value in told.items() if value}
