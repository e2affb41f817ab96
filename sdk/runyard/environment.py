"""Environments: what a script runs in, as a person describes it."""

import copy
import json
import os
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from runyard import package_date
from runyard.absent import answering
from runyard.conda_dependencies import CPU, GPU, CondaDependencies
from runyard.container_registry import ContainerRegistry
from runyard.errors import EnvironmentException, UserErrorException
from runyard.protocol.codec import from_json, to_json
from runyard.protocol.environments import EnvironmentRecord, EnvironmentSpec

if TYPE_CHECKING:
    from runyard.environment_build import ImageBuildDetails

__all__ = ["CPU", "GPU", "CondaDependencies", "DockerSection", "Environment", "PythonSection", "SparkSection"]

CONDA_SOLVER = ("when-needed", "always", "never")
DEFAULT_INTERPRETER = "python"
DEFAULT_SHM_SIZE = "2g"
FILE = "environment.json"


class PythonSection:
    """The Python of an environment.

    Attributes:
        user_managed_dependencies: True runs on ``interpreter_path`` untouched; nothing is installed.
        interpreter_path: path or name of the interpreter, used only when user managed.
        conda_dependencies: the packages; ``CondaDependencies``.
        conda_dependencies_file: a conda environment file that takes the place of ``conda_dependencies``.
        base_conda_environment: accepted for Azure's sake; an environment that sets it is refused.
        conda_solver: which conda packages come from conda channels: those that pip's registry lacks ("when-needed"),
            all of them and Python too ("always"), or none ("never"). None leaves it to the server. Azure has no such
            thing.
    """

    user_managed_dependencies: bool
    interpreter_path: str
    conda_dependencies: Any
    conda_dependencies_file: Optional[str]
    base_conda_environment: Optional[str]
    conda_solver: Optional[str]

    def __init__(self, **_: Any) -> None:
        self.user_managed_dependencies = False
        self.interpreter_path = DEFAULT_INTERPRETER
        self.conda_dependencies = CondaDependencies()
        self.conda_dependencies_file = None
        self.base_conda_environment = None
        self.conda_solver = None

    def packages(self) -> CondaDependencies:
        """The packages, read from the file where one is set.

        Raises:
            UserErrorException: the file cannot be read, or ``conda_dependencies`` is something else.
        """
        if self.conda_dependencies_file:
            return CondaDependencies(self.conda_dependencies_file)
        if self.conda_dependencies is None:
            return CondaDependencies()
        if not isinstance(self.conda_dependencies, CondaDependencies):
            raise UserErrorException(
                "python.conda_dependencies is a CondaDependencies, such as CondaDependencies.create(pip_packages=['numpy']); "
                "this is a {}.".format(type(self.conda_dependencies).__name__)
            )
        return self.conda_dependencies


class DockerSection:
    """The container of an environment.

    Attributes:
        base_image: image that the script is to run in, with the environment's packages in it; None for none.
        base_dockerfile: refused when set.
        base_image_registry: where the image comes from (``ContainerRegistry``).
        enabled: whether a container is wanted though no image is named; counts where the server has an image for that.
        shm_size: of the container's /dev/shm.
        arguments: further ones for the container engine's ``run``; docs/containers.md says which.
        shared_volumes, gpu_support, platform: no effect, which is said once: code and data are always shared, GPUs passed
            where the run has some.
    """

    enabled: bool
    base_image: Optional[str]
    base_dockerfile: Optional[str]
    base_image_registry: Any
    build_context: Any
    platform: Any
    shared_volumes: bool
    gpu_support: bool
    shm_size: Optional[str]
    arguments: List[str]

    def __init__(self, **_: Any) -> None:
        self.enabled = False
        self.base_image = None
        self.base_dockerfile = None
        self.base_image_registry = ContainerRegistry()
        self.build_context = None
        self.platform = None
        self.shared_volumes = True
        self.gpu_support = False
        self.shm_size = DEFAULT_SHM_SIZE
        self.arguments = []

    def say_what_is_not_used(self) -> None:
        """Says once which settings have no effect, since no image is named that they could be for."""
        from runyard.notices import not_used, unless

        settings = {
            "enabled": unless(False, bool(self.enabled)),
            "shared_volumes": unless(True, bool(self.shared_volumes)),
            "gpu_support": unless(False, bool(self.gpu_support)),
            "shm_size": unless(DEFAULT_SHM_SIZE, self.shm_size),
            "arguments": unless([], list(self.arguments or [])),
            "build_context": self.build_context,
            "platform": self.platform,
        }
        not_used(
            "Environment.docker",
            settings,
            "without base_image a script runs in an environment of its own on the node itself, in no container.",
        )

    def image(self) -> Optional[str]:
        """The image with its registry's address, None for none."""
        if not self.base_image:
            return None
        registry = self.base_image_registry
        return registry.image(self.base_image) if isinstance(registry, ContainerRegistry) else self.base_image


class SparkSection:
    """Spark's packages. Scripts that need none may set what they like; packages are refused.

    Attributes:
        repositories, packages: refused when they name something: no Spark runs here.
        precache_packages: accepted; means nothing without packages.
    """

    repositories: List[Any]
    packages: List[Any]
    precache_packages: bool

    def __init__(self, **_: Any) -> None:
        self.repositories = []
        self.packages = []
        self.precache_packages = True


@answering("azureml.core.Environment")
class Environment:
    """What a script runs in: Python, packages, variables. Registered ones have a name and versions.

    Args:
        name: None for an environment that is used once.
    Attributes:
        version: of a registered one.
        python: interpreter and packages (``PythonSection``).
        docker: image (``DockerSection``).
        spark: Spark's packages, which are refused (``SparkSection``).
        environment_variables: name to value.
        packages_as_of: a day such as "2019-08-13": newer packages are not taken, so that old code finds the ones of its
            time. None takes what RUNYARD_PACKAGES_AS_OF says when a run is submitted, or the newest.
        inferencing_stack_version: accepted; means something only to deployed models.
    """

    name: Optional[str]
    version: Optional[str]
    python: PythonSection
    docker: DockerSection
    spark: SparkSection
    inferencing_stack_version: Optional[str]
    environment_variables: Dict[str, str]
    packages_as_of: Any

    def __init__(self, name: Optional[str] = None, **_: Any) -> None:
        self.name = name
        self.version = None
        self.python = PythonSection()
        self.docker = DockerSection()
        self.spark = SparkSection()
        self.inferencing_stack_version = None
        self.environment_variables = {}
        self.packages_as_of = None
        self._framework = EnvironmentSpec()  # an estimator's, of an environment that a run had

    def register(self, workspace: Any) -> "Environment":
        """Keeps the environment in the workspace under its name; the same content again gives the same version.

        Raises:
            EnvironmentException: it has no name, or one against the rules.
        """
        if not self.name:
            raise EnvironmentException("An environment needs a name to be registered: Environment(name='...').")
        answer = workspace.transport.call("POST", "/environments", json=to_json(self.to_spec()))
        return Environment.from_record(from_json(EnvironmentRecord, answer))

    @staticmethod
    def get(workspace: Any, name: str, version: Optional[str] = None, label: Optional[str] = None) -> "Environment":
        """A registered environment, its latest version by default.

        Raises:
            EnvironmentException: no such environment or version.
        """
        from runyard.transport.base import url_path

        if label not in (None, "latest", "Latest"):
            raise EnvironmentException("Environments have versions and no label {!r}. Give version=.".format(label))
        query = {"version": version} if version is not None else None
        answer = workspace.transport.call("GET", url_path("environments", name), query=query)
        return Environment.from_record(from_json(EnvironmentRecord, answer))

    @staticmethod
    def list(workspace: Any) -> "Dict[str, Environment]":
        """The latest version of each registered environment, by name."""
        answer = workspace.transport.call("GET", "/environments")
        found = [Environment.from_record(from_json(EnvironmentRecord, item)) for item in answer["environments"]]
        return {str(each.name): each for each in found}

    @staticmethod
    def versions(workspace: Any, name: str) -> "List[Environment]":
        """All versions of a registered environment, the oldest first.

        Raises:
            EnvironmentException: no such environment.
        """
        from runyard.transport.base import url_path

        answer = workspace.transport.call("GET", url_path("environments", name, "versions"))
        return [Environment.from_record(from_json(EnvironmentRecord, item)) for item in answer["environments"]]

    def build(self, workspace: Any, image_build_compute: Optional[str] = None) -> "ImageBuildDetails":
        """Builds the environment on the server's machine now, so that its first run finds it there.

        Args:
            image_build_compute: accepted; the server builds.
        Returns:
            The build, which goes on beside the caller.
        Raises:
            EnvironmentException: an environment that could never be built; says what is allowed.
        """
        from runyard.environment_build import ImageBuildDetails
        from runyard.notices import not_used

        not_used("Environment.build", {"image_build_compute": image_build_compute}, "the workspace's server builds.")
        spec = to_json(self.to_spec())
        return ImageBuildDetails(workspace, workspace.transport.call("POST", "/environment-builds", json=spec))

    def build_local(self, workspace: Any, platform: Any = None, **azure: Any) -> "ImageBuildDetails":
        """As ``build``, and waits for it; what it says is printed.

        Raises:
            EnvironmentException: it cannot be built; says why.
        """
        from runyard.notices import not_used

        why = "no image is made, the packages are installed for the scripts of the server's machine."
        not_used("Environment.build_local", dict(azure, platform=platform), why)
        return self.build(workspace).wait_for_completion(show_output=True, raise_on_error=True)

    def clone(self, new_name: str) -> "Environment":
        """A copy under another name, without a version."""
        twin = copy.deepcopy(self)
        twin.name = new_name
        twin.version = None
        return twin

    @staticmethod
    def from_pip_requirements(name: Optional[str], file_path: str, pip_version: Optional[str] = None) -> "Environment":
        """An environment with the packages of a pip requirements file.

        Args:
            pip_version: accepted; packages are installed without pip.
        Raises:
            UserErrorException: the file cannot be read, or has a line that cannot be served.
        """
        from runyard import requirements_file
        from runyard.notices import not_used

        not_used(
            "Environment.from_pip_requirements", {"pip_version": pip_version}, "packages are installed without pip."
        )
        packages, options = requirements_file.read(os.path.expanduser(str(file_path)))
        environment = Environment(name)
        environment.python.conda_dependencies.set_pip_requirements(options + packages)
        return environment

    @staticmethod
    def from_conda_specification(name: Optional[str], file_path: str) -> "Environment":
        """An environment with the packages and variables of a conda environment file.

        Raises:
            UserErrorException: the file cannot be read as one; says the line.
        """
        environment = Environment(name)
        environment.python.conda_dependencies = CondaDependencies(file_path)
        environment.environment_variables.update(environment.python.conda_dependencies.variables)
        return environment

    @staticmethod
    def from_existing_conda_environment(name: str, conda_environment_name: str) -> "Environment":
        """Refused: runyard does not run conda.

        Raises:
            EnvironmentException: always; says how to get there.
        """
        raise EnvironmentException(
            "Conda environments are not read directly. Write the file with 'conda env export --no-builds -n {} > env.yml' "
            "and take Environment.from_conda_specification({!r}, 'env.yml'), or run on its interpreter: "
            "user_managed_dependencies=True and interpreter_path.".format(conda_environment_name, name)
        )

    @staticmethod
    def from_docker_image(
        name: Optional[str],
        image: str,
        container_registry: Any = None,
        conda_specification: Optional[str] = None,
        pip_requirements: Optional[str] = None,
    ) -> "Environment":
        """An environment in a container image, with packages from one file on top."""
        if conda_specification and pip_requirements:
            raise UserErrorException("Give conda_specification or pip_requirements, not both.")
        environment = Environment(name)
        if conda_specification:
            environment = Environment.from_conda_specification(name, conda_specification)
        elif pip_requirements:
            environment = Environment.from_pip_requirements(name, pip_requirements)
        else:
            environment.python.user_managed_dependencies = True
        environment.docker.enabled = True
        environment.docker.base_image = image
        if container_registry is not None:
            environment.docker.base_image_registry = container_registry
        return environment

    @staticmethod
    def from_dockerfile(
        name: Optional[str],
        dockerfile: str,
        conda_specification: Optional[str] = None,
        pip_requirements: Optional[str] = None,
    ) -> "Environment":
        """Refused: images are not built here.

        Raises:
            EnvironmentException: always; says what to do instead.
        """
        raise EnvironmentException(_DOCKERFILE)

    def save_to_directory(self, path: str, overwrite: bool = False) -> None:
        """Writes the environment into a directory: ``environment.json`` and the conda file.

        Raises:
            UserErrorException: the directory is there already and ``overwrite`` is False.
        """
        if os.path.exists(path) and not overwrite:
            raise UserErrorException("{} is there already. Give another directory or overwrite=True.".format(path))
        os.makedirs(path, exist_ok=True)
        self.python.packages().save(path)
        with open(os.path.join(path, FILE), "w", encoding="utf-8") as stream:
            json.dump(to_json(self.to_spec()), stream, indent=2)

    @staticmethod
    def load_from_directory(path: str) -> "Environment":
        """The environment that ``save_to_directory`` wrote.

        Raises:
            UserErrorException: there is none in the directory.
        """
        file = os.path.join(path, FILE)
        try:
            with open(file, encoding="utf-8") as stream:
                return Environment.from_spec(from_json(EnvironmentSpec, json.load(stream)))
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UserErrorException(
                "{} cannot be read as an environment that save_to_directory wrote: {}.".format(file, error)
            ) from error

    def to_spec(self) -> EnvironmentSpec:
        """The environment as the server gets it.

        Raises:
            UserErrorException: packages or variables that are not what they should be.
            EnvironmentException: a Dockerfile, a base conda environment, packages of Spark, or a conda_solver that
                there is not.
        """
        if self.docker.base_dockerfile or self.docker.build_context is not None:
            raise EnvironmentException(_DOCKERFILE)
        if self.python.base_conda_environment:
            raise EnvironmentException(
                "python.base_conda_environment names {!r}, but conda environments cannot be built upon. Name its packages "
                "in python.conda_dependencies.".format(self.python.base_conda_environment)
            )
        if self.spark is not None and (self.spark.packages or self.spark.repositories):
            raise EnvironmentException(
                "spark.packages names packages of Spark, but no Spark runs here. Run the script on Python alone, or "
                "install pyspark as a pip package and let the script start it."
            )
        if not self.docker.base_image:
            self.docker.say_what_is_not_used()
        if self.python.conda_solver not in (None,) + CONDA_SOLVER:
            raise EnvironmentException(
                "python.conda_solver is {!r}. Allowed: {}, or None for the server's own.".format(
                    self.python.conda_solver, ", ".join(repr(each) for each in CONDA_SOLVER)
                )
            )
        in_container = bool(self.docker.base_image or self.docker.enabled)
        managed = bool(self.python.user_managed_dependencies)
        packages = CondaDependencies() if managed else self.python.packages()
        interpreter = self.python.interpreter_path
        return EnvironmentSpec(
            name=self.name,
            version=self.version,
            python_version=packages.get_python_version(),
            pip_packages=packages.pip_packages,
            conda_packages=[each for each in packages.conda_packages if not _is_python(each)],
            conda_channels=packages.conda_channels,
            pip_options=packages.pip_options,
            framework=self._framework.framework,
            framework_version=self._framework.framework_version,
            use_gpu=self._framework.use_gpu,
            user_managed=managed,
            interpreter=interpreter if managed and interpreter and interpreter != DEFAULT_INTERPRETER else None,
            variables=_variables(self.environment_variables),
            docker_image=self.docker.image(),
            docker_wanted=bool(self.docker.enabled),
            docker_shm_size=self.docker.shm_size if in_container else None,
            docker_arguments=[str(word) for word in self.docker.arguments or []] if in_container else [],
            packages_as_of=None if self.packages_as_of is None else package_date.checked(self.packages_as_of),
            conda_solver=None if managed else self.python.conda_solver,
        )

    @staticmethod
    def from_spec(spec: EnvironmentSpec) -> "Environment":
        """The environment that a spec describes."""
        environment = Environment(spec.name)
        environment.version = spec.version
        environment._framework = spec
        packages = environment.python.conda_dependencies
        if spec.python_version:
            packages.set_python_version(spec.python_version)
        for channel in spec.conda_channels:
            packages.add_channel(channel)
        for package in spec.conda_packages:
            packages.add_conda_package(package)
        packages.set_pip_requirements(spec.pip_options + spec.pip_packages)
        environment.python.user_managed_dependencies = spec.user_managed
        environment.python.interpreter_path = spec.interpreter or DEFAULT_INTERPRETER
        environment.python.conda_solver = spec.conda_solver
        environment.environment_variables = dict(spec.variables)
        environment.docker.base_image = spec.docker_image
        environment.docker.enabled = spec.docker_wanted
        if spec.docker_image or spec.docker_wanted:
            environment.docker.shm_size = spec.docker_shm_size
        environment.docker.arguments = list(spec.docker_arguments)
        environment.packages_as_of = spec.packages_as_of
        return environment

    @staticmethod
    def from_record(record: EnvironmentRecord) -> "Environment":
        """The environment of a registered version."""
        environment = Environment.from_spec(record.spec)
        environment.name = record.name
        environment.version = record.version
        return environment

    def _repr_html_(self) -> str:
        from runyard.notebook.cards import card

        named, version = self.python.conda_dependencies, None
        packages: Optional[str] = self.python.conda_dependencies_file
        if self.python.user_managed_dependencies:
            version, packages = self.python.interpreter_path, None
        elif packages is None and isinstance(named, CondaDependencies):
            version = named.get_python_version()
            every = [each for each in named.conda_packages if not _is_python(each)] + named.pip_packages
            packages = ", ".join(every) or None
        return card(
            [
                ("Name", self.name),
                ("Version", self.version),
                ("Python", version),
                ("Packages", packages),
                ("Image", self.docker.base_image),
            ]
        )

    def __repr__(self) -> str:
        return "Environment(Name: {}, Version: {})".format(self.name, self.version)


_DOCKERFILE = (
    "Dockerfiles are not built here. Build the image yourself (podman build -t NAME .) and name it, or an image that exists "
    "(docker.base_image = NAME, Environment.from_docker_image); or name the packages alone (conda_dependencies)."
)


def _is_python(package: str) -> bool:
    import re

    return re.match(r"^(?:[\w.\-/]+::)?python\s*(?:[=<>!~ ].*)?$", package, re.IGNORECASE) is not None


def _variables(variables: Any) -> Dict[str, str]:
    if not isinstance(variables, dict) or not all(isinstance(name, str) and name for name in variables):
        raise UserErrorException("environment_variables is a dict such as {'NAME': 'value'}.")
    return {name: str(value) for name, value in variables.items()}
