"""What an environment is asked to be (spec) and what it was resolved to (lock)."""

from dataclasses import dataclass, field
from typing import Dict, List, Optional


@dataclass(frozen=True)
class EnvironmentSpec:
    """What a person asked for, frozen at submission.

    Attributes:
        python_version: "3.11", "3.7.16" or None for the default of the framework or server.
        pip_packages: requirement lines as pip reads them.
        conda_packages: conda match specs ("numpy", "scikit-learn=1.2").
        framework: "tensorflow", "pytorch", "scikit-learn", "chainer" or None.
        framework_version: "2.15", "1.13" or None for the framework's default.
        use_gpu: whether the framework's GPU build is wanted.
        user_managed: run on ``interpreter`` untouched; nothing is resolved or installed.
        interpreter: path or name of the interpreter of a user-managed environment.
        variables: environment variables of the script.
        docker_image: container image that the script runs in; with ``user_managed`` it is taken as it is.
        docker_wanted: whether a container was asked for, with no image named: where the server has one for that, it is taken.
        docker_shm_size: of the container's /dev/shm; None for the engine's own.
        docker_arguments: further ones for the engine's ``run``.
        pip_options: index options for the resolver ("--index-url ..."), kept out of logs' secrets.
        mpi: whether an MPI run needs MPI's own programs in it.
        notebook: whether a notebook is run in it, which needs papermill and a kernel.
        packages_as_of: UTC date ("2019-08-13") after which no package is taken; None for no limit but a framework's.
        conda_channels: where conda packages come from, the preferred first; empty leaves it to the server.
        conda_solver: which conda packages go to the conda solver: those that pip's registry lacks ("when-needed"),
            all ("always") or none ("never"); None leaves it to the server.
    """

    name: Optional[str] = None
    version: Optional[str] = None
    python_version: Optional[str] = None
    pip_packages: List[str] = field(default_factory=list)
    conda_packages: List[str] = field(default_factory=list)
    conda_channels: List[str] = field(default_factory=list)
    pip_options: List[str] = field(default_factory=list)
    framework: Optional[str] = None
    framework_version: Optional[str] = None
    use_gpu: bool = False
    user_managed: bool = False
    interpreter: Optional[str] = None
    variables: Dict[str, str] = field(default_factory=dict)
    docker_image: Optional[str] = None
    mpi: bool = False
    notebook: bool = False
    packages_as_of: Optional[str] = None
    conda_solver: Optional[str] = None
    docker_wanted: bool = False
    docker_shm_size: Optional[str] = None
    docker_arguments: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class CondaPackage:
    """One exact conda package of a lock: the file ``<channel>/<subdir>/<file_name>``.

    Attributes:
        channel: name or address, as the environment or the server names it; it may hold a secret.
        md5: counts only where there is no sha256.
    """

    name: str
    version: str
    build: str
    channel: str
    subdir: str
    file_name: str
    sha256: Optional[str] = None
    md5: Optional[str] = None
    size_bytes: int = 0


@dataclass(frozen=True)
class CompiledPackage:
    """A package that the server compiles, because its makers give only its source.

    Attributes:
        source_sha256: digest of the source's archive on the package index.
        recipe: the server's name for how it is compiled.
        against: the pins that it is compiled against, Python's minor version first.
        tools: exact pins with hashes of what only the compilation needs.
    """

    name: str
    version: str
    source_sha256: str
    recipe: str
    against: List[str] = field(default_factory=list)
    tools: str = ""


@dataclass(frozen=True)
class BaseImage:
    """The container image that an environment was resolved to.

    Attributes:
        name: as the environment names it.
        id: the digest of its configuration, the same on every host.
        reference: its name with the digest by which its registry knows it; None for an image of one host alone.
        interpreter: of an environment that takes the image as it is: its Python, "" for the one on its PATH. None where
            the packages of the lock are installed in it.
    """

    name: str
    id: str
    reference: Optional[str] = None
    interpreter: Optional[str] = None


@dataclass(frozen=True)
class EnvironmentLock:
    """Exact pins with hashes. ``key`` is the digest that names the built environment.

    ``options`` are uv's arguments that say where packages come from; they may hold a secret and
    are no part of the key. ``warnings`` are notes that every run in the environment is to carry.
    ``conda`` are the packages of the conda solver; where Python is among them, the environment runs on
    that one. ``image`` is the container image that the packages are installed in, or that is taken as it is.
    """

    key: str
    python_version: str
    requirements: str
    exclude_newer: Optional[str] = None
    notes: List[str] = field(default_factory=list)
    options: List[str] = field(default_factory=list)
    compiled: List[CompiledPackage] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)
    conda: List[CondaPackage] = field(default_factory=list)
    image: Optional[BaseImage] = None


@dataclass(frozen=True)
class EnvironmentRecord:
    """A registered environment of the workspace, one version of it."""

    name: str
    version: str
    spec: EnvironmentSpec
    created_at: float


@dataclass(frozen=True)
class CachedEnvironment:
    """A built environment on the server's host. ``ready`` is false for what a killed build left behind.

    Attributes:
        size_bytes: of its files; most are hard links into the package cache and take no room of their own.
        last_used_at: UTC epoch seconds.
        in_use: whether a process runs in it now.
        requirements: the exact pins, without their hashes; conda's as "name=version=build".
    """

    key: str
    ready: bool
    python_version: str
    size_bytes: int
    file_count: int
    built_at: Optional[float]
    last_used_at: float
    in_use: bool
    directory: str
    requirements: List[str] = field(default_factory=list)


@dataclass(frozen=True)
class EnvironmentBuild:
    """A build that was asked for before a run needs it.

    Attributes:
        status: "Queued", "Running", "Succeeded" or "Failed".
        log: what it said from the asked character on.
        size: characters that it has said in all.
        key: of the built environment.
    """

    id: str
    status: str
    log: str = ""
    size: int = 0
    key: Optional[str] = None


@dataclass(frozen=True)
class EnvironmentPruning:
    """Which built environments are to go: those that nothing used for ``unused_for_s`` seconds."""

    unused_for_s: float = 0.0
    dry_run: bool = False


@dataclass(frozen=True)
class PrunedEnvironments:
    """What was removed, or would be; ``kept`` says by key why the others stay."""

    removed: List[CachedEnvironment] = field(default_factory=list)
    kept: Dict[str, str] = field(default_factory=dict)
    freed_bytes: int = 0
    dry_run: bool = False
