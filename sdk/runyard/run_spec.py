"""From what a person configured to the frozen RunSpec that the server gets: one function, ``build``.

It checks everything that can be known without the server, before a byte is sent.
"""

import os
import re
import uuid
from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

from runyard import package_date, url_map
from runyard.dataset_consumption import DatasetConsumptionConfig
from runyard.environment import DEFAULT_SHM_SIZE
from runyard.errors import UserErrorException
from runyard.names import (
    check_data_reference_name,
    check_datastore_name,
    check_experiment_name,
    check_variable_name,
    checked_pairs,
)
from runyard.notebook_parameters import is_notebook, parameters
from runyard.notices import not_used, unless
from runyard.output_dataset import OutputFileDatasetConfig
from runyard.protocol.datasets import DatasetOutput, DatasetUse
from runyard.protocol.environments import EnvironmentSpec
from runyard.protocol.runs import (
    ALL_GPUS,
    ASKED_FOR,
    GPUS_OF_SHAPE,
    LOSSES,
    DataReferenceSpec,
    DistributionSpec,
    RetrySpec,
    RunSpec,
)
from runyard.resuming import option
from runyard.runconfig import (
    DEFAULT_CPU_IMAGE,
    DEFAULT_GPU_IMAGE,
    DataReferenceConfiguration,
    RunConfiguration,
    directory,
    one_off_message,
)
from runyard.script_run_config import ScriptRunConfig

KINDS = {
    "none": "none",
    "parameterserver": "tensorflow",
    "intelmpi": "mpi",
    "openmpi": "mpi",
    "mpi": "mpi",
    "nccl": "torch",
    "gloo": "torch",
}
MODES = ("mount", "download", "upload")

_REFERENCE = re.compile(r"\$(?:AZUREML_DATAREFERENCE_(\w+)|\{AZUREML_DATAREFERENCE_(\w+)\})")
_SHELL_WORDS = frozenset({"&&", "||", "|", ";", ">", ">>", "<", "2>&1", "&"})
_LISTED = 20  # scripts named in a message
_LOOKED_AT = 2000  # files looked at to find them


def build(
    config: Any,
    experiment_name: str,
    snapshot_id: str = "",
    tags: Optional[Mapping[Any, Any]] = None,
    keep: Optional[Callable[[Any], Any]] = None,
) -> RunSpec:
    """The spec of a run of ``config``, checked.

    Call it with ``snapshot_id=""`` first: it then raises before any file is sent; afterwards
    ``dataclasses.replace(spec, snapshot=id)``. ``spec.source_directory`` is what to send.

    Args:
        config: ScriptRunConfig, or an Estimator (TensorFlow, PyTorch, SKLearn, Chainer).
        tags: keys and values of the run; values are sent as text.
        keep: makes the workspace keep a dataset by its id; without it, one that is not kept gets an id that nobody knows.
    Raises:
        UserErrorException: what is wrong in the configuration, and what is allowed.
        ExperimentException: the experiment's name is against the rules.
    """
    config = folded(config)
    settings = config.run_config
    source = directory(config.source_directory)
    script = config.script or settings.script
    command = config.command or settings.command
    if command and script:
        raise UserErrorException("Give script and arguments, or command, not both.")
    _say_what_is_not_used(settings)
    references = _References(settings, keep)
    distribution = _distribution(settings)
    arguments = [] if command else references.rendered(_arguments(config) + option(config.resume_from))
    if is_notebook(script) and not command:
        _check_notebook(arguments, distribution, _count("node_count", settings.node_count))
    return RunSpec(
        experiment=check_experiment_name(experiment_name),
        snapshot=snapshot_id,
        script=None if command else entry_script(source, script),
        command=_command(command, references) if command else [],
        arguments=arguments,
        target=_target(settings),
        environment=_environment(settings),
        node_count=_count("node_count", settings.node_count),
        distribution=distribution,
        gpus_per_node=_gpus(settings),
        priority=_priority(settings.priority),
        max_run_duration_s=_duration(settings.max_run_duration_seconds),
        data_references=references.all(),
        input_datasets=references.datasets(),
        output_datasets=references.outputs(),
        source_directory=source,
        tags=checked_pairs(tags),
        retry=_retry(settings),
        run_config=_definition(settings),
    )


def _say_what_is_not_used(settings: RunConfiguration) -> None:
    history = {
        "output_collection": unless(True, bool(settings.history.output_collection)),
        "snapshot_project": unless(True, bool(settings.history.snapshot_project)),
        "directories_to_watch": unless(["logs"], list(settings.history.directories_to_watch)),
    }
    not_used("RunConfiguration.history", history, "every run keeps its code, ./outputs and ./logs.")
    if not settings.has_environment or not settings.environment.docker.base_image:
        docker = {
            "shared_volumes": settings.docker.shared_volumes,
            "shm_size": settings.docker.shm_size,
            "arguments": unless([], list(settings.docker.arguments or [])),
        }
        not_used("RunConfiguration.docker", docker, "without an image a script runs in no container.")
    others = {
        "source_directory_data_store": settings.source_directory_data_store,
        "auto_prepare_environment": unless(True, bool(settings.auto_prepare_environment)),
    }
    why = "code is kept by the workspace's server, and an environment that is not there yet is always built."
    not_used("RunConfiguration", others, why)


def folded(config: Any) -> ScriptRunConfig:
    """``config`` as a ScriptRunConfig: itself, or what an estimator folds itself into.

    Raises:
        UserErrorException: something that cannot be submitted.
    """
    fold = getattr(config, "to_script_run_config", None)
    if fold is not None:
        config = fold()
    if not isinstance(config, ScriptRunConfig):
        raise UserErrorException(
            "A {} cannot be submitted. Give a ScriptRunConfig or an estimator "
            "(Estimator, TensorFlow, PyTorch, SKLearn, Chainer).".format(type(config).__name__)
        )
    return config


def entry_script(source: str, script: Optional[str]) -> str:
    """Path of the entry script, relative to the source directory, with ``/`` between its parts.

    Raises:
        UserErrorException: none given, or not in the directory (the message names the scripts that are).
    """
    if not script:
        raise UserErrorException("No script was given. Name one of {}: {}.".format(source, _scripts(source)))
    path = os.path.normpath(os.path.join(source, os.path.expanduser(os.fspath(script))))
    relative = os.path.relpath(path, source)
    if relative == os.pardir or relative.startswith(os.pardir + os.sep):
        raise UserErrorException(
            "The script {} lies outside the source_directory {}: only that directory is sent. Move the script into "
            "it, or give the directory that holds it.".format(script, source)
        )
    if not os.path.isfile(path):
        what = "is a directory" if os.path.isdir(path) else "is not there"
        raise UserErrorException(
            "The script {} {} in the source_directory {}. It holds: {}.".format(script, what, source, _scripts(source))
        )
    return relative.replace(os.sep, "/")


def _check_notebook(arguments: List[str], distribution: DistributionSpec, nodes: int) -> None:
    parameters(arguments)
    if distribution.kind == "mpi" and nodes * distribution.process_count_per_node > 1:
        raise UserErrorException(
            "A notebook's cells run in a kernel, a process that MPI does not know: it cannot be one rank of several. "
            "Convert it (jupyter nbconvert --to script) and give the .py file."
        )


def _scripts(source: str) -> str:
    found: List[str] = []
    looked_at = 0
    for folder, folders, files in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        prefix = os.path.relpath(folder, source)
        for name in sorted(files):
            looked_at += 1
            if name.endswith(".py"):
                found.append(name if prefix == os.curdir else os.path.join(prefix, name).replace(os.sep, "/"))
        if len(found) > _LISTED or looked_at > _LOOKED_AT:
            break
    if not found:
        return "no .py file"
    return ", ".join(found[:_LISTED]) + (", ..." if len(found) > _LISTED else "")


def _arguments(config: ScriptRunConfig) -> List[Any]:
    arguments: Any = config.arguments if config.arguments is not None else config.run_config.arguments
    if isinstance(arguments, str):
        import shlex

        return list(shlex.split(arguments))
    if arguments is None:
        return []
    if not isinstance(arguments, (list, tuple)):
        raise UserErrorException(
            "arguments is a list such as ['--epochs', 20]; this is a {}.".format(type(arguments).__name__)
        )
    return list(arguments)


def _command(command: Union[str, List[Any]], references: "_References") -> List[str]:
    """A text, or a list that holds a shell's own words, goes to a shell; any other list is run as it is."""
    if isinstance(command, str):
        line = references.rendered([command])
    else:
        line = references.rendered(list(command))
        if len(line) > 1 and not _SHELL_WORDS.intersection(line):
            return line
    return ["bash", "-c", " ".join(line)]


class _References:
    """The data references of one run, by name, as its arguments, inputs and configuration give them."""

    def __init__(self, settings: RunConfiguration, keep: Optional[Callable[[Any], Any]] = None) -> None:
        self._keep = keep
        self._found: Dict[str, DataReferenceSpec] = {}
        self._uses: Dict[str, DatasetUse] = {}
        self._outputs: Dict[str, DatasetOutput] = {}
        for name, value in settings.data_references.items():
            self._add(_configured(name, value) if isinstance(value, DataReferenceConfiguration) else _spec(value, name))
        for value in settings.inputs:
            self._take(value, "inputs")

    def datasets(self) -> List[DatasetUse]:
        return [self._uses[name] for name in sorted(self._uses)]

    def outputs(self) -> List[DatasetOutput]:
        return [self._outputs[name] for name in sorted(self._outputs)]

    def all(self) -> List[DataReferenceSpec]:
        return [self._found[name] for name in sorted(self._found)]

    def rendered(self, values: List[Any]) -> List[str]:
        """Values as a command line has them; data references become ``$AZUREML_DATAREFERENCE_<name>``.

        Raises:
            UserErrorException: a value that cannot be an argument, or text that mentions a data
                reference which this run does not have.
        """
        texts = [self._text(value) for value in values]
        for text in texts:
            for groups in _REFERENCE.findall(text):
                name = groups[0] or groups[1]
                if name not in self._found:
                    raise UserErrorException(
                        "The argument {!r} mentions the data reference '{}', which this run does not have. Pass the "
                        "data reference itself as an argument, or name it in inputs=[...].".format(text, name)
                    )
        return texts

    def _text(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, (bool, int, float)):
            return str(value)
        if hasattr(value, "to_spec"):
            return self._take(value, "arguments")
        if isinstance(value, os.PathLike):
            return str(value)
        item = getattr(value, "item", None)
        if callable(item) and getattr(value, "size", 1) == 1:  # a number of numpy
            return str(item())
        raise UserErrorException(
            "A {} cannot be an argument: {!r:.100}. Arguments are text, numbers and data references "
            "(datastore.as_mount(), .path(...).as_download()); give the items of a list one by one.".format(
                type(value).__name__, value
            )
        )

    def _take(self, value: Any, where: str) -> str:
        """Notes what the run is given; gives its place in a command line."""
        is_named = isinstance(value, DatasetConsumptionConfig)
        if is_named and value.is_table:
            return self._use(value).id
        spec = _spec(value, where)
        self._add(spec)
        if is_named and value.dataset.id is not None:
            self._use(value)
        output = value.to_output() if isinstance(value, OutputFileDatasetConfig) else None
        if output is not None:
            self._outputs[output.output_name] = output
        return "$AZUREML_DATAREFERENCE_" + spec.name

    def _use(self, value: DatasetConsumptionConfig) -> DatasetUse:
        use = value.to_use()
        if use is None and self._keep is not None:
            self._keep(value.dataset)
            use = value.to_use()
        if use is None:
            use = self._uses.get(value.name) or DatasetUse(value.name, str(uuid.uuid4()))
        if self._uses.setdefault(value.name, use) != use:
            raise UserErrorException(
                "Two different datasets of this run are both named '{}'. Give one of them another name: "
                "dataset.as_named_input('...').".format(value.name)
            )
        return use

    def _add(self, spec: DataReferenceSpec) -> None:
        if self._found.setdefault(spec.name, spec) != spec:
            raise UserErrorException(
                "Two different data references of this run are both named '{}'. Give one of them another name: "
                "datastore.path('...', data_reference_name='...').".format(spec.name)
            )


def _spec(value: Any, where: str) -> DataReferenceSpec:
    spec = value.to_spec() if hasattr(value, "to_spec") else None
    if not isinstance(spec, DataReferenceSpec):
        raise UserErrorException(
            "{} takes data references such as datastore.as_mount() or datastore.path('mnist').as_download(); "
            "this is a {}.".format(where, type(value).__name__)
        )
    return spec


def _configured(name: str, value: DataReferenceConfiguration) -> DataReferenceSpec:
    mode = str(value.mode).lower()
    if mode not in MODES:
        raise UserErrorException(
            "The data reference '{}' has the mode {!r}; modes are {}.".format(name, value.mode, ", ".join(MODES))
        )
    return DataReferenceSpec(
        name=check_data_reference_name(name),
        datastore=check_datastore_name(value.datastore_name),
        path=(value.path_on_datastore or "").strip("/"),
        mode=mode,
        path_on_compute=value.path_on_compute,
        overwrite=bool(value.overwrite),
    )


def _target(settings: RunConfiguration) -> str:
    if settings.amlcompute.vm_size is not None:
        raise UserErrorException(one_off_message(settings.amlcompute.vm_size))
    return settings.target


def _environment(settings: RunConfiguration) -> EnvironmentSpec:
    spec = settings.environment.to_spec() if settings.has_environment else EnvironmentSpec()
    wanted = settings.framework_request
    variables = dict(spec.variables)
    for name, value in settings.environment_variables.items():
        variables[check_variable_name(name)] = str(value)
    urls = None if url_map.VARIABLE in variables else url_map.configured()
    if urls is not None:
        variables[url_map.VARIABLE] = urls.path
    image = None if spec.docker_image in (DEFAULT_CPU_IMAGE, DEFAULT_GPU_IMAGE) else spec.docker_image
    if wanted.name is not None and not spec.user_managed:
        spec = replace(spec, framework=wanted.name, framework_version=wanted.version, use_gpu=bool(wanted.use_gpu))
    if spec.packages_as_of is None and not spec.user_managed:
        spec = replace(spec, packages_as_of=package_date.from_variable())
    docker = settings.docker
    wanted_in_docker = spec.docker_wanted or bool(docker.use_docker) or image != spec.docker_image
    if image is None and not wanted_in_docker:
        return replace(spec, variables=variables)
    return replace(
        spec,
        variables=variables,
        docker_image=image,
        docker_wanted=wanted_in_docker,
        docker_shm_size=docker.shm_size or spec.docker_shm_size or DEFAULT_SHM_SIZE,
        docker_arguments=spec.docker_arguments + [str(word) for word in docker.arguments or []],
    )


def _distribution(settings: RunConfiguration) -> DistributionSpec:
    communicator = str(settings.communicator or "None")
    kind = KINDS.get(communicator.lower())
    if kind is None:
        raise UserErrorException(
            "The communicator {!r} is not known. Communicators are None, ParameterServer, IntelMpi, OpenMpi, Nccl "
            "and Gloo; MpiConfiguration, TensorflowConfiguration and PyTorchConfiguration set them.".format(
                communicator
            )
        )
    nodes = _count("node_count", settings.node_count)
    if kind == "tensorflow":
        return DistributionSpec(
            kind=kind,
            worker_count=_count("worker_count", settings.tensorflow.worker_count),
            parameter_server_count=_count("parameter_server_count", settings.tensorflow.parameter_server_count, 0),
            chief=bool(settings.tensorflow.chief),
        )
    if kind == "torch":
        per_node, total = _torch_processes(settings.pytorch.process_count, nodes)
        return DistributionSpec(
            kind=kind,
            process_count_per_node=per_node,
            process_count=total,
            communication_backend=communicator.lower(),
        )
    per_node = _count("process_count_per_node", settings.mpi.process_count_per_node)
    if kind == "none" and (nodes > 1 or per_node > 1):
        raise UserErrorException(needs_backend_message(nodes, per_node))
    return DistributionSpec(kind=kind, process_count_per_node=per_node)


def needs_backend_message(nodes: int, per_node: int) -> str:
    """Why several processes need a way to find each other, and which there are."""
    return (
        "This run asks for {} node(s) with {} process(es) each, but says nothing of how they find each other. Give "
        "MpiConfiguration(), TensorflowConfiguration() or PyTorchConfiguration() as distributed_training (estimators) "
        "or distributed_job_config (ScriptRunConfig).".format(nodes, per_node)
    )


def _torch_processes(process_count: Optional[int], nodes: int) -> Tuple[int, int]:
    total = nodes if process_count is None else _count("process_count", process_count)
    if total % nodes:
        raise UserErrorException(
            "process_count={} does not divide by node_count={}: every node runs equally many processes. Give a "
            "multiple of {}.".format(total, nodes, nodes)
        )
    return total // nodes, total


def _gpus(settings: RunConfiguration) -> int:
    if settings.gpus_per_node is not None:
        return _count("gpus_per_node", settings.gpus_per_node, 0)
    wanted = settings.framework_request.use_gpu
    if wanted is None:
        return GPUS_OF_SHAPE
    return ALL_GPUS if wanted else 0


def _count(name: str, value: Any, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserErrorException("{} is a whole number of at least {}; this is {!r}.".format(name, least, value))
    return value


def _priority(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserErrorException("priority is a whole number, higher goes first; this is {!r}.".format(value))
    return value


def _duration(value: Any) -> Optional[int]:
    return None if value is None else _count("max_run_duration_seconds", value)


def _retry(settings: RunConfiguration) -> RetrySpec:
    wanted: Any = settings.retry_on
    if isinstance(wanted, str) or not all(isinstance(cause, str) for cause in wanted):
        raise UserErrorException("retry_on is a list of causes such as ['out_of_memory']; this is {!r}.".format(wanted))
    attempts = _count("max_attempts", settings.max_attempts)
    unknown = [cause for cause in wanted if cause not in ASKED_FOR + LOSSES]
    if unknown:
        raise UserErrorException(
            "A run is not tried again after {!r}. It is after {} where max_attempts is more than 1, and where "
            "retry_on names them after {}.".format(unknown[0], ", ".join(LOSSES), ", ".join(ASKED_FOR))
        )
    if wanted and attempts == 1:
        raise UserErrorException("retry_on needs max_attempts of at least 2: with 1 nothing is tried again.")
    return RetrySpec(attempts, sorted(set(wanted).difference(LOSSES)))


def _definition(settings: RunConfiguration) -> Dict[str, Any]:
    """What ``get_details()['runDefinition']`` has besides the spec's own fields, under Azure's keys."""
    return {
        "framework": settings.framework,
        "communicator": settings.communicator,
        "tensorflow": {
            "workerCount": settings.tensorflow.worker_count,
            "parameterServerCount": settings.tensorflow.parameter_server_count,
        },
        "mpi": {"processCountPerNode": settings.mpi.process_count_per_node},
        "pyTorch": {
            "communicationBackend": str(settings.pytorch.communication_backend).lower(),
            "processCount": settings.pytorch.process_count,
        },
        "history": {
            "outputCollection": settings.history.output_collection,
            "snapshotProject": settings.history.snapshot_project,
            "directoriesToWatch": list(settings.history.directories_to_watch),
        },
        "sourceDirectoryDataStore": settings.source_directory_data_store,
    }
