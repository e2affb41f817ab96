"""The stage of a model's version, in MLflow's words: a tag of the version."""

from collections.abc import Mapping

STAGE = "mlflow.stage"
NO_STAGE = "None"
STAGES = (NO_STAGE, "Staging", "Production", "Archived")


def stage_of(tags: Mapping[str, str]) -> str:
    """The stage that a version's tags say; NO_STAGE where it is on none."""
    said = tags.get(STAGE, NO_STAGE)
    return said if said in STAGES else NO_STAGE
