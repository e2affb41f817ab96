"""Estimators: a script, its framework and its packages in one object; each folds into a ScriptRunConfig."""

import copy
import os
from typing import Any, Dict, List, Mapping, Optional, Tuple

from runyard import estimator_environment
from runyard.container_registry import ContainerRegistry
from runyard.errors import UserErrorException
from runyard.estimator_distribution import distribute
from runyard.resuming import resumed_from
from runyard.runconfig import Distributed, FrameworkRequest, RunConfiguration, one_off_message
from runyard.script_run_config import ScriptRunConfig


class _Estimator:
    """What the estimators share. A subclass names its framework and the backends that it knows."""

    framework: Optional[str] = None
    default_framework_version: Optional[str] = None
    backends: Tuple[str, ...] = ("mpi", "ps", "gloo", "nccl")

    def _configure(self, given: Dict[str, Any]) -> None:
        """``given``: the constructor's arguments by name."""
        given.pop("self")
        _check_supported(given)
        estimator_environment.check(given)
        self._source_directory = _source(given["source_directory"])
        self._script_params = _checked_params(given["script_params"])
        settings = RunConfiguration(script=given["entry_script"])
        settings.arguments = arguments_of(self._script_params)
        settings.target = given["compute_target"]
        settings.inputs = _checked_inputs(given["inputs"])
        settings.max_run_duration_seconds = given["max_run_duration_seconds"]
        settings.source_directory_data_store = _datastore_name(given.get("source_directory_data_store"))
        settings.docker.use_docker = given["use_docker"]
        settings.docker.shm_size = given["shm_size"]
        settings.environment_variables = dict(given["environment_variables"] or {})
        settings.environment = estimator_environment.build(given, self._source_directory)
        settings.framework_request = self._framework(given)
        distribute(settings, given, self.backends, type(self).__name__)
        self._run_config = settings
        self._resume_from = None if given["resume_from"] is None else resumed_from(given["resume_from"])

    @property
    def source_directory(self) -> str:
        """The directory that is sent."""
        return self._source_directory

    @property
    def run_config(self) -> RunConfiguration:
        """What the estimator was folded into; may be changed until it is submitted."""
        return self._run_config

    @property
    def conda_dependencies(self) -> Any:
        """The packages of its environment."""
        return self._run_config.environment.python.conda_dependencies

    def to_script_run_config(self) -> ScriptRunConfig:
        """The same run as a ScriptRunConfig."""
        return ScriptRunConfig(self._source_directory, run_config=self._run_config, resume_from=self._resume_from)

    def with_overrides(
        self,
        script_params: Optional[Mapping[str, Any]] = None,
        inputs: Optional[List[Any]] = None,
        source_directory_data_store: Any = None,
    ) -> "_Estimator":
        """A copy with what ``Experiment.submit`` may override.

        Args:
            script_params: joined with the estimator's own; for a name in both this value counts.
            inputs: instead of the estimator's.
        """
        twin = copy.copy(self)
        twin._run_config = self._run_config.copied()
        if script_params is not None:
            twin._script_params = dict(self._script_params, **_checked_params(script_params))
            twin._run_config.arguments = arguments_of(twin._script_params)
        if inputs is not None:
            twin._run_config.inputs = _checked_inputs(inputs)
        if source_directory_data_store is not None:
            twin._run_config.source_directory_data_store = _datastore_name(source_directory_data_store)
        return twin

    def _framework(self, given: Dict[str, Any]) -> FrameworkRequest:
        # The version itself is checked by the server, whose table of frameworks it is.
        use_gpu = bool(given.get("use_gpu", False))
        if given["environment_definition"] is not None or given["user_managed"]:
            return FrameworkRequest(None, None, use_gpu)
        version = given.get("framework_version") or self.default_framework_version
        return FrameworkRequest(self.framework, version if self.framework else None, use_gpu)


class Estimator(_Estimator):
    """Trains with whatever packages it is given.

    Args:
        source_directory: directory that holds the script; sent as a whole.
        compute_target: a compute target or its name; "local" by default.
        entry_script: path of the script in the source directory; a notebook (.ipynb) is run with ``script_params``
            as its parameters, and kept with its outputs as ``outputs/<name>.output.ipynb``.
        script_params: arguments as a dict; a value "" makes its key a bare flag.
        node_count, process_count_per_node: more than one needs ``distributed_training``.
        distributed_training: MpiConfiguration, TensorflowConfiguration or PyTorchConfiguration.
        distributed_backend: older: "mpi", "ps", "gloo" or "nccl".
        use_gpu: whether the run gets GPUs: all that a node of the compute target has.
        use_docker: accepted; means something only with a custom image, or where the server has one for that.
        custom_docker_image, custom_docker_base_image: image that the script runs in, with the packages in it; with
            user_managed as it is.
        user_managed: the script runs in the interpreter that is there, untouched.
        conda_packages, pip_packages: lists of packages.
        conda_dependencies_file, pip_requirements_file: files with packages, relative to the source
            directory (and the older names with ``_path``).
        environment_definition: an Environment, instead of all the package and image parameters.
        inputs: data references that the script finds by their variables.
        max_run_duration_seconds: the run is ended after so long.
    Raises:
        UserErrorException: parameters that exclude each other, or are not there yet; says the cure.
    """

    def __init__(
        self,
        source_directory: str,
        *,
        compute_target: Any = None,
        vm_size: Optional[str] = None,
        vm_priority: Optional[str] = None,
        entry_script: Optional[str] = None,
        script_params: Optional[Mapping[str, Any]] = None,
        node_count: int = 1,
        process_count_per_node: int = 1,
        distributed_backend: Optional[str] = None,
        distributed_training: Optional[Distributed] = None,
        use_gpu: bool = False,
        use_docker: bool = True,
        custom_docker_base_image: Optional[str] = None,
        custom_docker_image: Optional[str] = None,
        image_registry_details: Any = None,
        user_managed: bool = False,
        conda_packages: Optional[List[str]] = None,
        pip_packages: Optional[List[str]] = None,
        conda_dependencies_file_path: Optional[str] = None,
        pip_requirements_file_path: Optional[str] = None,
        conda_dependencies_file: Optional[str] = None,
        pip_requirements_file: Optional[str] = None,
        environment_variables: Optional[Dict[str, str]] = None,
        environment_definition: Any = None,
        inputs: Optional[List[Any]] = None,
        source_directory_data_store: Any = None,
        shm_size: Optional[str] = None,
        resume_from: Any = None,
        max_run_duration_seconds: Optional[int] = None,
    ) -> None:
        self._configure(locals())


class TensorFlow(_Estimator):
    """Trains with TensorFlow. Arguments as ``Estimator``, and:

    Args:
        framework_version: "1.13", "2.15", ...; None for the newest that the server knows.
        worker_count, parameter_server_count: older: counts for ``distributed_backend="ps"``.
    """

    framework = "tensorflow"
    backends = ("mpi", "ps")

    def __init__(
        self,
        source_directory: str,
        *,
        compute_target: Any = None,
        vm_size: Optional[str] = None,
        vm_priority: Optional[str] = None,
        entry_script: Optional[str] = None,
        script_params: Optional[Mapping[str, Any]] = None,
        node_count: int = 1,
        process_count_per_node: int = 1,
        worker_count: int = 1,
        parameter_server_count: int = 1,
        distributed_backend: Optional[str] = None,
        distributed_training: Optional[Distributed] = None,
        use_gpu: bool = False,
        use_docker: bool = True,
        custom_docker_base_image: Optional[str] = None,
        custom_docker_image: Optional[str] = None,
        image_registry_details: Any = None,
        user_managed: bool = False,
        conda_packages: Optional[List[str]] = None,
        pip_packages: Optional[List[str]] = None,
        conda_dependencies_file_path: Optional[str] = None,
        pip_requirements_file_path: Optional[str] = None,
        conda_dependencies_file: Optional[str] = None,
        pip_requirements_file: Optional[str] = None,
        environment_variables: Optional[Dict[str, str]] = None,
        environment_definition: Any = None,
        inputs: Optional[List[Any]] = None,
        source_directory_data_store: Any = None,
        shm_size: Optional[str] = None,
        resume_from: Any = None,
        max_run_duration_seconds: Optional[int] = None,
        framework_version: Optional[str] = None,
    ) -> None:
        self._configure(locals())


class _Framework(_Estimator):
    """PyTorch's and Chainer's constructor, which are the same."""

    def __init__(
        self,
        source_directory: str,
        *,
        compute_target: Any = None,
        vm_size: Optional[str] = None,
        vm_priority: Optional[str] = None,
        entry_script: Optional[str] = None,
        script_params: Optional[Mapping[str, Any]] = None,
        node_count: int = 1,
        process_count_per_node: int = 1,
        distributed_backend: Optional[str] = None,
        distributed_training: Optional[Distributed] = None,
        use_gpu: bool = False,
        use_docker: bool = True,
        custom_docker_base_image: Optional[str] = None,
        custom_docker_image: Optional[str] = None,
        image_registry_details: Any = None,
        user_managed: bool = False,
        conda_packages: Optional[List[str]] = None,
        pip_packages: Optional[List[str]] = None,
        conda_dependencies_file_path: Optional[str] = None,
        pip_requirements_file_path: Optional[str] = None,
        conda_dependencies_file: Optional[str] = None,
        pip_requirements_file: Optional[str] = None,
        environment_variables: Optional[Dict[str, str]] = None,
        environment_definition: Any = None,
        inputs: Optional[List[Any]] = None,
        source_directory_data_store: Any = None,
        shm_size: Optional[str] = None,
        resume_from: Any = None,
        max_run_duration_seconds: Optional[int] = None,
        framework_version: Optional[str] = None,
    ) -> None:
        self._configure(locals())


class PyTorch(_Framework):
    """Trains with PyTorch. Arguments as ``Estimator``, and ``framework_version``."""

    framework = "pytorch"
    backends = ("mpi", "gloo", "nccl")


class Chainer(_Framework):
    """Trains with Chainer. Arguments as ``Estimator``, and ``framework_version``."""

    framework = "chainer"
    backends = ("mpi",)


class SKLearn(_Estimator):
    """Trains with scikit-learn: one process, no GPU. Arguments as ``Estimator``, and ``framework_version``."""

    framework = "scikit-learn"
    backends = ()

    def __init__(
        self,
        source_directory: str,
        *,
        compute_target: Any = None,
        vm_size: Optional[str] = None,
        vm_priority: Optional[str] = None,
        entry_script: Optional[str] = None,
        script_params: Optional[Mapping[str, Any]] = None,
        use_docker: bool = True,
        custom_docker_image: Optional[str] = None,
        image_registry_details: Any = None,
        user_managed: bool = False,
        conda_packages: Optional[List[str]] = None,
        pip_packages: Optional[List[str]] = None,
        conda_dependencies_file_path: Optional[str] = None,
        pip_requirements_file_path: Optional[str] = None,
        conda_dependencies_file: Optional[str] = None,
        pip_requirements_file: Optional[str] = None,
        environment_variables: Optional[Dict[str, str]] = None,
        environment_definition: Any = None,
        inputs: Optional[List[Any]] = None,
        shm_size: Optional[str] = None,
        resume_from: Any = None,
        max_run_duration_seconds: Optional[int] = None,
        framework_version: Optional[str] = None,
    ) -> None:
        self._configure(locals())


def arguments_of(script_params: Mapping[str, Any]) -> List[Any]:
    """A script's arguments from a dict; empty values are left out, which makes their keys flags."""
    arguments: List[Any] = []
    for name, value in script_params.items():
        arguments.append(name)
        if value is not None and not (isinstance(value, str) and value == ""):
            arguments.append(value)
    return arguments


def _check_supported(given: Dict[str, Any]) -> None:
    if given["vm_size"] is not None or given["vm_priority"] is not None:
        raise UserErrorException(one_off_message(given["vm_size"] or "STANDARD_D2_V2"))
    registry = given["image_registry_details"]
    if registry is not None and not isinstance(registry, ContainerRegistry):
        raise UserErrorException(
            "image_registry_details is a ContainerRegistry; this is a {}.".format(type(registry).__name__)
        )
    if registry is not None and (registry.username or registry.password):
        raise UserErrorException(
            "image_registry_details cannot hold a login: images are taken with the credentials of the host's own "
            "container engine. Log in there, and give the registry's address alone."
        )


def _source(source_directory: Any) -> str:
    if not isinstance(source_directory, (str, os.PathLike)):
        raise UserErrorException(
            "source_directory is the path of the directory that holds the script; this is a {}.".format(
                type(source_directory).__name__
            )
        )
    return os.fspath(source_directory)


def _checked_params(script_params: Any) -> Dict[str, Any]:
    if script_params is None:
        return {}
    if not isinstance(script_params, Mapping) or not all(isinstance(name, str) for name in script_params):
        raise UserErrorException(
            "script_params is a dict such as {{'--batch-size': 50, '--verbose': ''}}; this is {!r}.".format(
                script_params
            )
        )
    return dict(script_params)


def _checked_inputs(inputs: Any) -> List[Any]:
    if inputs is None:
        return []
    if not isinstance(inputs, (list, tuple)):
        raise UserErrorException(
            "inputs is a list of data references such as [datastore.as_mount()]; this is a {}.".format(
                type(inputs).__name__
            )
        )
    return list(inputs)


def _datastore_name(datastore: Any) -> Optional[str]:
    if datastore is None or isinstance(datastore, str):
        return datastore
    return str(datastore.name)
