"""The rules of names, one function each: it gives the name back, or raises the error that says the rule.

The client calls them before it sends anything, the server before it stores anything.
"""

import re
from typing import Any, Dict, Mapping, Optional, Pattern, Type

from runyard.errors import (
    ComputeTargetException,
    DatasetException,
    DatastoreException,
    EnvironmentException,
    ExperimentException,
    ModelException,
    RetentionException,
    RunException,
    UserErrorException,
    WorkspaceException,
)

LONGEST = 255
LONGEST_RUN_ID = 300  # an experiment's name, when it was submitted, and a few letters of its own

_WORKSPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXPERIMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COMPUTE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_DATASTORE = re.compile(r"[A-Za-z0-9_]+")
_DATASET = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._ -]*[A-Za-z0-9._-])?")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_RETENTION_RULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"[^\x00-\x1f\x7f]+")

# The same rules for the API's document: pattern of the whole name, least and most characters.
RULES = {
    "run": (_RUN_ID.pattern, 1, LONGEST_RUN_ID),
    "experiment": (_EXPERIMENT.pattern, 1, LONGEST),
    "model": (_MODEL.pattern, 1, LONGEST),
    "compute": (_COMPUTE.pattern, 2, 64),
    "datastore": (_DATASTORE.pattern, 1, LONGEST),
    "dataset": (_DATASET.pattern, 1, LONGEST),
    "environment": (_ENVIRONMENT.pattern, 1, LONGEST),
    "retention rule": (_RETENTION_RULE.pattern, 1, 64),
}


def check_workspace_name(name: Any) -> str:
    """Raises WorkspaceException unless ``name`` may name a workspace."""
    rule = "3 to 33 letters, digits, '_' and '-', the first a letter or digit"
    return _check("a workspace", name, _WORKSPACE, 3, 33, rule, "my-workspace", WorkspaceException)


def check_experiment_name(name: Any) -> str:
    """Raises ExperimentException unless ``name`` may name an experiment."""
    rule = "1 to 255 letters, digits, '_' and '-', the first a letter or digit"
    return _check("an experiment", name, _EXPERIMENT, 1, LONGEST, rule, "tf-mnist", ExperimentException)


def check_run_id(name: Any) -> str:
    """Raises RunException unless ``name`` may be the id of a run."""
    rule = "1 to 300 letters, digits, '.', '_' and '-', the first a letter or digit"
    return _check("a run", name, _RUN_ID, 1, LONGEST_RUN_ID, rule, "tf-mnist_1566000000_0a1b2c3d", RunException)


def check_model_name(name: Any) -> str:
    """Raises ModelException unless ``name`` may name a model."""
    rule = "1 to 255 letters, digits, '.', '_' and '-', the first a letter or digit"
    return _check("a model", name, _MODEL, 1, LONGEST, rule, "tf-dnn-mnist", ModelException)


def check_compute_name(name: Any) -> str:
    """Raises ComputeTargetException unless ``name`` may name a compute target."""
    rule = "2 to 64 letters, digits, '_' and '-', the first a letter"
    return _check("a compute target", name, _COMPUTE, 2, 64, rule, "gpucluster", ComputeTargetException)


def check_datastore_name(name: Any) -> str:
    """Raises DatastoreException unless ``name`` may name a datastore (it becomes part of a variable's name)."""
    rule = "1 to 255 letters, digits and '_'"
    return _check("a datastore", name, _DATASTORE, 1, LONGEST, rule, "my_data", DatastoreException)


def check_dataset_name(name: Any) -> str:
    """Raises DatasetException unless ``name`` may name a dataset."""
    rule = "1 to 255 letters, digits, '.', '_', '-' and spaces, no space or sign in front and no space at the end"
    return _check("a dataset", name, _DATASET, 1, LONGEST, rule, "mnist-dataset", DatasetException)


def check_data_reference_name(name: Any) -> str:
    """Raises DatastoreException unless ``name`` may name a data reference: ``$AZUREML_DATAREFERENCE_<name>``."""
    rule = "1 to 255 letters, digits and '_', since the script finds it in a variable of that name"
    return _check("a data reference", name, _DATASTORE, 1, LONGEST, rule, "training_data", DatastoreException)


def check_environment_name(name: Any) -> str:
    """Raises EnvironmentException unless ``name`` may name an environment."""
    rule = "1 to 255 letters, digits, '.', '_' and '-', the first a letter or digit"
    return _check("an environment", name, _ENVIRONMENT, 1, LONGEST, rule, "tf-1.13-cpu", EnvironmentException)


def check_retention_rule_name(name: Any) -> str:
    """Raises RetentionException unless ``name`` may name a retention rule."""
    rule = "1 to 64 letters, digits, '_' and '-', the first a letter or digit"
    return _check("a retention rule", name, _RETENTION_RULE, 1, 64, rule, "old-failures", RetentionException)


def check_variable_name(name: Any) -> str:
    """Raises UserErrorException unless ``name`` may name an environment variable."""
    rule = "1 to 255 letters, digits and '_', the first not a digit"
    return _check("an environment variable", name, _VARIABLE, 1, LONGEST, rule, "OMP_NUM_THREADS", UserErrorException)


def check_key(name: Any, what: str = "tag") -> str:
    """Raises UserErrorException unless ``name`` may be the key of a tag or property (``what``)."""
    rule = "1 to 255 characters, none of them a control character"
    return _check("a key of a " + what, name, _KEY, 1, LONGEST, rule, "dataset", UserErrorException)


def checked_pairs(values: Optional[Mapping[Any, Any]], what: str = "tag") -> Dict[str, str]:
    """Tags or properties as they are sent: keys checked, values as text (None is "").

    Raises:
        UserErrorException: not a mapping, a key against the rules, or a value with a NUL character.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise UserErrorException(
            "{} are given as a dict such as {{'dataset': 'mnist'}}; this is a {}: {!r}.".format(
                {"tag": "Tags", "property": "Properties"}.get(what, what), type(values).__name__, values
            )
        )
    return {check_key(name, what): _value(name, value, what) for name, value in values.items()}


def _value(name: str, value: Any, what: str) -> str:
    text = "" if value is None else str(value)
    if "\x00" in text:
        raise UserErrorException(
            "The {} {!r} has a value with a NUL character, which cannot be kept.".format(what, name)
        )
    return text


def _check(
    what: str,
    name: Any,
    pattern: Pattern[str],
    shortest: int,
    longest: int,
    rule: str,
    example: str,
    error: Type[UserErrorException],
) -> str:
    if not isinstance(name, str):
        raise error("The name of {} is text such as '{}'; this is a {}.".format(what, example, type(name).__name__))
    if shortest <= len(name) <= longest and pattern.fullmatch(name):
        return name
    shown = repr(name) if len(name) <= 80 else "{!r}... ({} characters)".format(name[:60], len(name))
    raise error("{} is no name of {}: it takes {}. Choose one such as '{}'.".format(shown, what, rule, example))
