"""From a command line to a run's configuration: what ``runyard submit`` was asked for."""

import argparse
import os
import re
from argparse import Namespace
from typing import TYPE_CHECKING, Any, List, Optional, Tuple

from runyard.cli.call import Call
from runyard.cli.parsing import pair

if TYPE_CHECKING:
    from runyard.environment import Environment
    from runyard.script_run_config import ScriptRunConfig

FRAMEWORKS = {
    "tensorflow": "tensorflow",
    "pytorch": "pytorch",
    "scikit-learn": "scikit-learn",
    "chainer": "chainer",
    "tf": "tensorflow",
    "torch": "pytorch",
    "sklearn": "scikit-learn",
}
_DATA = re.compile(r"(?P<datastore>[A-Za-z0-9_]+)(?:/(?P<path>.*))?")


def source_and_script(script: str, source: Optional[str]) -> Tuple[str, str]:
    """The folder to send and the script's path in it.

    Without ``source`` it is the working directory if the script lies in it, else the script's own folder.
    """
    script = os.path.expanduser(script)
    here = os.getcwd()
    path = os.path.abspath(script)
    if source is not None:
        folder = os.path.abspath(os.path.expanduser(source))
        if not os.path.exists(path):  # then it was named as it is called in that folder
            return folder, script
    else:
        folder = here if path.startswith(os.path.join(here, "")) else os.path.dirname(path)
    return folder, os.path.relpath(path, folder)


def experiment_name(source: str) -> str:
    """An experiment's name made of a folder's."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", os.path.basename(source)).strip("-_")[:255] or "runs"


def config(call: Call, source: str, script: str) -> "ScriptRunConfig":
    """The configuration that the options describe.

    Raises:
        UserErrorException: options that exclude each other, or what they name is not there.
    """
    from runyard.runconfig import FrameworkRequest
    from runyard.script_run_config import ScriptRunConfig

    given = call.given
    made = ScriptRunConfig(
        source,
        script,
        arguments=list(given.arguments),
        compute_target=given.target,
        environment=_environment(call),
        distributed_job_config=_distributed(given),
    )
    settings = made.run_config
    if given.max_seconds is not None:
        settings.max_run_duration_seconds = given.max_seconds
    settings.max_attempts, settings.retry_on = given.max_attempts, given.retry_on
    name, version = given.framework or (None, None)
    settings.framework_request = FrameworkRequest(name, version, True if given.gpu else None)
    settings.environment_variables = dict(given.env)
    settings.priority = given.priority
    settings.node_count = given.nodes
    settings.inputs = [_reference(call, *each) for each in given.data]
    return made


def _environment(call: Call) -> Optional["Environment"]:
    """What the options say of the environment, None where they say nothing."""
    from runyard.environment import Environment

    given = call.given
    described = [
        "--" + name.replace("_", "-")
        for name in ("framework", "pip", "requirements", "conda_file", "python")
        if getattr(given, name)
    ]
    _refuse_both("--environment", given.environment, described + (["--interpreter"] if given.interpreter else []))
    _refuse_both("--interpreter", given.interpreter, described)
    _refuse_both("--conda-file", given.conda_file, ["--requirements"] if given.requirements else [])
    if given.environment:
        name, _, version = given.environment.partition(":")
        return Environment.get(call.workspace, name, version or None)
    if given.interpreter:
        environment = Environment()
        environment.python.user_managed_dependencies = True
        path = os.path.expanduser(given.interpreter)
        environment.python.interpreter_path = os.path.abspath(path) if os.sep in path else path
        return environment
    if given.requirements:
        environment = Environment.from_pip_requirements(None, given.requirements)
    elif given.conda_file:
        environment = Environment.from_conda_specification(None, given.conda_file)
    elif given.pip or given.python:
        environment = Environment()
    else:
        return None
    for package in given.pip:
        environment.python.conda_dependencies.add_pip_package(package)
    if given.python:
        environment.python.conda_dependencies.set_python_version(given.python)
    return environment


def _refuse_both(option: str, value: Any, others: List[str]) -> None:
    from runyard.errors import UserErrorException

    if value and others:
        raise UserErrorException(
            "{} says all of the environment, so {} cannot be given with it.".format(option, " and ".join(others))
        )


def _distributed(given: Namespace) -> Any:
    from runyard import runconfig

    if given.distributed is None:
        if given.nodes > 1 or given.processes > 1:
            from runyard.errors import UserErrorException

            raise UserErrorException(
                "Several nodes or processes need a way to find each other: give --distributed pytorch, tensorflow or mpi."
            )
        return None
    if given.distributed == "pytorch":
        backend = "Nccl" if given.gpu else "Gloo"
        return runconfig.PyTorchConfiguration(backend, given.nodes * given.processes, given.nodes)
    if given.distributed == "tensorflow":
        return runconfig.TensorflowConfiguration(worker_count=given.nodes * given.processes, parameter_server_count=0)
    return runconfig.MpiConfiguration(given.processes, given.nodes)


def _reference(call: Call, name: str, datastore: str, path: str) -> Any:
    from runyard.data_reference import DataReference
    from runyard.datastore import Datastore

    return DataReference(Datastore(call.workspace, datastore), name, path)


def framework(text: str) -> Tuple[str, Optional[str]]:
    """The kind of argument that is "NAME" or "NAME==VERSION" of a framework."""
    name, _, version = text.partition("==")
    known = FRAMEWORKS.get(name.strip().lower())
    if known is None:
        raise argparse.ArgumentTypeError(
            "{!r} is no framework: write tensorflow, pytorch, scikit-learn or chainer, then ==VERSION if you like".format(
                text
            )
        )
    return known, version.strip() or None


def data(text: str) -> Tuple[str, str, str]:
    """The kind of argument that is "NAME=DATASTORE/PATH"."""
    name, place = pair(text)
    match = _DATA.fullmatch(place)
    if match is None:
        raise argparse.ArgumentTypeError("{!r} is not NAME=DATASTORE/PATH".format(text))
    return name, match.group("datastore"), match.group("path") or ""
