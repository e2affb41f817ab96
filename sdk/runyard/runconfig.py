"""How a script is to be run: what ``ScriptRunConfig.run_config`` holds and a person may change before submitting."""

import copy
import os
from typing import Any, Dict, List, Optional, Union

from runyard.absent import answering
from runyard.errors import UserErrorException

# Azure's names for its base images. Here they ask for no image: the environment is built without one.
DEFAULT_CPU_IMAGE = "default-cpu-image"
DEFAULT_GPU_IMAGE = "default-gpu-image"

LONGEST_RUN_S = 2592000  # 30 days, as Azure


class MpiConfiguration:
    """Ranks that find each other through MPI.

    Attributes:
        process_count_per_node: ranks on each node.
        node_count: nodes of the run.
    """

    process_count_per_node: int
    node_count: int

    def __init__(self, process_count_per_node: int = 1, node_count: int = 1) -> None:
        self.process_count_per_node = process_count_per_node
        self.node_count = node_count


class TensorflowConfiguration:
    """TensorFlow's own parameter servers and workers, told of each other through ``TF_CONFIG``.

    Attributes:
        worker_count: workers of the run.
        parameter_server_count: parameter servers; 0 for workers that keep the variables themselves.
        chief: whether one process more coordinates them, as TensorFlow 2's ParameterServerStrategy wants it. The
            workers then serve it as the parameter servers do: when it has ended well, the run has. Not in Azure ML.
    """

    worker_count: int
    parameter_server_count: int
    chief: bool

    def __init__(self, worker_count: int = 1, parameter_server_count: int = 1, chief: bool = False) -> None:
        self.worker_count = worker_count
        self.parameter_server_count = parameter_server_count
        self.chief = chief


class PyTorchConfiguration:
    """Ranks that find each other through ``MASTER_ADDR``, ``RANK``, ``WORLD_SIZE``.

    Attributes:
        communication_backend: "Nccl" or "Gloo".
        process_count: ranks in all; None for one per node.
        node_count: nodes of the run.
    """

    def __init__(
        self, communication_backend: str = "Nccl", process_count: Optional[int] = None, node_count: int = 1
    ) -> None:
        self.communication_backend = communication_backend
        self.process_count = process_count
        self.node_count = node_count


class ParameterServer(TensorflowConfiguration):
    """Azure's older name of ``TensorflowConfiguration``."""


class Mpi(MpiConfiguration):
    """Azure's older name of ``MpiConfiguration``."""


class Gloo(PyTorchConfiguration):
    """Ranks of PyTorch that speak through Gloo (CPU)."""

    def __init__(self, process_count: Optional[int] = None, node_count: int = 1) -> None:
        super().__init__("Gloo", process_count, node_count)


class Nccl(PyTorchConfiguration):
    """Ranks of PyTorch that speak through NCCL (GPU)."""

    def __init__(self, process_count: Optional[int] = None, node_count: int = 1) -> None:
        super().__init__("Nccl", process_count, node_count)


Distributed = Union[MpiConfiguration, TensorflowConfiguration, PyTorchConfiguration]


class DataReferenceConfiguration:
    """A place on a datastore, as ``RunConfiguration.data_references`` holds it by name.

    Attributes:
        datastore_name: name of the datastore.
        mode: "mount", "download" or "upload".
        path_on_datastore: None for its root.
        path_on_compute: where the script wants it, relative to its working directory.
        overwrite: for download and upload: whether existing files are replaced.
    """

    def __init__(
        self,
        datastore_name: Optional[str] = None,
        mode: str = "mount",
        path_on_datastore: Optional[str] = None,
        path_on_compute: Optional[str] = None,
        overwrite: bool = False,
    ) -> None:
        self.datastore_name = datastore_name
        self.mode = mode
        self.path_on_datastore = path_on_datastore
        self.path_on_compute = path_on_compute
        self.overwrite = overwrite


class DockerConfiguration:
    """Whether the run is wished in a container. Counts where its environment, or else the server, names an image.

    Args:
        use_docker: whether a container is wanted though the environment names no image.
        shared_volumes: accepted; code and data are always shared.
        arguments: further ones for the container engine's ``run``; docs/containers.md says which.
        shm_size: of the container's /dev/shm.
    """

    def __init__(
        self,
        use_docker: bool = False,
        shared_volumes: Optional[bool] = None,
        arguments: Optional[List[str]] = None,
        shm_size: Optional[str] = None,
    ) -> None:
        self.use_docker = use_docker
        self.shared_volumes = shared_volumes
        self.arguments = list(arguments or [])
        self.shm_size = shm_size


class HistoryConfiguration:
    """What is kept of a run besides its metrics. Everything is: the fields are there to be set."""

    def __init__(self) -> None:
        self.output_collection = True
        self.snapshot_project = True
        self.directories_to_watch = ["logs"]


class AmlComputeConfiguration:
    """The one-off cluster of Azure's ``target = 'amlcompute'``; see ``run_spec`` for what is made of it."""

    def __init__(self) -> None:
        self.vm_size: Optional[str] = None
        self.vm_priority: Optional[str] = None
        self.cluster_max_node_count = 1


class FrameworkRequest:
    """The framework that an estimator adds to its environment.

    Attributes:
        name: "tensorflow", "pytorch", "scikit-learn" or "chainer"; None for none.
        version: "1.13", ...; None for the server's default.
        use_gpu: whether its GPU build, and GPUs, are wanted; None for GPUs where the compute target has some.
    """

    def __init__(
        self, name: Optional[str] = None, version: Optional[str] = None, use_gpu: Optional[bool] = None
    ) -> None:
        self.name = name
        self.version = version
        self.use_gpu = use_gpu


@answering("azureml.core.runconfig.RunConfiguration")
class RunConfiguration:
    """How a script is to be run, apart from where its source lies.

    Attributes:
        script: path of the entry script in the source directory.
        arguments: its arguments: text, numbers and data references.
        command: a command line instead of script and arguments.
        framework: "Python", "TensorFlow" or "PyTorch".
        communicator: "None", "ParameterServer", "IntelMpi", "OpenMpi", "Nccl" or "Gloo".
        target: name of the compute target; a compute target may be assigned.
        environment: what the script runs in (``Environment``).
        environment_variables: variables of the script, besides the environment's.
        node_count: nodes of the run.
        gpus_per_node: None for what the compute target has where GPUs are asked for; a number for just so many.
        data_references: name to ``DataReferenceConfiguration`` (or a data reference).
        inputs: data references that the script finds by their variables, without an argument.
        priority: higher goes first in the compute target's queue.
        max_run_duration_seconds: after so long the run is ended; None for no limit. Each attempt has that long.
        max_attempts: how often the run is tried in all where its node or job is lost or preempted. Not in Azure ML.
        retry_on: further causes to try it again after, such as "out_of_memory" or "script_failed". Not in Azure ML.
        auto_prepare_environment: accepted; an environment that is not there yet is always built.
    """

    script: Optional[str]
    arguments: List[Any]
    command: Union[None, str, List[Any]]
    framework: str
    communicator: str
    environment_variables: Dict[str, str]
    auto_prepare_environment: bool
    node_count: int
    gpus_per_node: Optional[int]
    data_references: Dict[str, Any]
    inputs: List[Any]
    priority: Optional[int]
    max_run_duration_seconds: Optional[int]
    max_attempts: int
    retry_on: List[str]
    source_directory_data_store: Optional[str]
    tensorflow: TensorflowConfiguration
    mpi: MpiConfiguration
    pytorch: PyTorchConfiguration
    history: HistoryConfiguration
    amlcompute: AmlComputeConfiguration
    docker: DockerConfiguration

    def __init__(
        self,
        script: Optional[str] = None,
        arguments: Optional[List[Any]] = None,
        framework: Optional[str] = None,
        communicator: Optional[str] = None,
        conda_dependencies: Any = None,
        command: Union[None, str, List[Any]] = None,
    ) -> None:
        if command and (script or arguments):
            raise UserErrorException("Give script and arguments, or command, not both.")
        self.script = script
        self.arguments = arguments if arguments is not None else []
        self.command = command
        self.framework = framework or "Python"
        self.communicator = communicator or "None"
        self._target = "local"
        self._environment: Any = None
        self.environment_variables = {}
        self.auto_prepare_environment = True
        self.node_count = 1
        self.gpus_per_node = None
        self.data_references = {}
        self.inputs = []
        self.priority = None
        self.max_run_duration_seconds = None
        self.max_attempts = 1
        self.retry_on = []
        self.source_directory_data_store = None
        self.framework_request = FrameworkRequest()
        self.tensorflow = TensorflowConfiguration()
        self.mpi = MpiConfiguration()
        self.pytorch = PyTorchConfiguration()
        self.history = HistoryConfiguration()
        self.amlcompute = AmlComputeConfiguration()
        self.docker = DockerConfiguration()
        if conda_dependencies is not None:
            self.environment.python.conda_dependencies = conda_dependencies

    @property
    def target(self) -> str:
        """Name of the compute target, "local" by default."""
        return self._target

    @target.setter
    def target(self, target: Any) -> None:
        self._target = target_name(target)

    @property
    def environment(self) -> Any:
        """The ``Environment`` of the script; made when first asked for."""
        if self._environment is None:
            from runyard.environment import Environment

            self._environment = Environment(name=None)
        return self._environment

    @environment.setter
    def environment(self, environment: Any) -> None:
        if not hasattr(environment, "to_spec"):
            raise UserErrorException(
                "An environment is an Environment, such as Environment.get(workspace, name); this is a {}.".format(
                    type(environment).__name__
                )
            )
        self._environment = environment

    @property
    def has_environment(self) -> bool:
        """Whether an environment was given or touched."""
        return self._environment is not None

    def copied(self) -> "RunConfiguration":
        """A copy that can be changed without touching this one. Data references and environments are shared."""
        twin = copy.copy(self)
        twin.arguments = list(self.arguments)
        twin.environment_variables = dict(self.environment_variables)
        twin.data_references = dict(self.data_references)
        twin.inputs = list(self.inputs)
        twin.retry_on = copy.copy(self.retry_on)
        for part in ("tensorflow", "mpi", "pytorch", "history", "amlcompute", "docker", "framework_request"):
            setattr(twin, part, copy.copy(getattr(self, part)))
        return twin

    def distribute(self, distributed: Distributed) -> None:
        """Sets framework, communicator and node count for a distributed job.

        Raises:
            UserErrorException: not one of the three distributed configurations.
        """
        if isinstance(distributed, MpiConfiguration):
            self.framework, self.communicator = "Python", "IntelMpi"
            self.mpi = copy.copy(distributed)
        elif isinstance(distributed, TensorflowConfiguration):
            self.framework, self.communicator = "TensorFlow", "ParameterServer"
            self.tensorflow = copy.copy(distributed)
        elif isinstance(distributed, PyTorchConfiguration):
            self.framework, self.communicator = "PyTorch", str(distributed.communication_backend).capitalize()
            self.pytorch = copy.copy(distributed)
        else:
            raise UserErrorException(
                "A distributed job is described by MpiConfiguration, TensorflowConfiguration or "
                "PyTorchConfiguration; this is a {}.".format(type(distributed).__name__)
            )


def target_name(target: Any) -> str:
    """Name of a compute target: given as one, as its name, or as None for "local".

    Raises:
        UserErrorException: neither.
    """
    if target is None:
        return "local"
    name = target if isinstance(target, str) else getattr(target, "name", None)
    if not isinstance(name, str) or not name:
        raise UserErrorException(
            "A compute target is given as a ComputeTarget or its name, 'local' for this machine; this is a {}.".format(
                type(target).__name__
            )
        )
    return name


def directory(source_directory: Any) -> str:
    """The absolute path of a source directory, "." where none is given.

    Raises:
        UserErrorException: there is no such directory.
    """
    path = os.path.abspath(os.path.expanduser(os.fspath(source_directory or ".")))
    if os.path.isdir(path):
        return path
    what = "is a file, not a directory" if os.path.exists(path) else "does not exist"
    raise UserErrorException("The source_directory {} {}. Give the directory that holds the script.".format(path, what))


def one_off_message(vm_size: Any) -> str:
    """Why a cluster for one run alone is refused, and what does the same."""
    return (
        "A cluster for one run alone (vm_size={0!r}) is not there. Create one once and give it as compute_target: "
        "ComputeTarget.create(ws, 'cluster', AmlCompute.provisioning_configuration(vm_size={0!r}, max_nodes=1)); "
        "its nodes are given back after its idle time.".format(vm_size)
    )
