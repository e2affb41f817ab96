"""Conda package specs as pip requirements, as far as the package registry of pip has the same thing.

``python`` sets the interpreter. What only conda has goes to the conda solver; where there is none it is refused with
the cure.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

from runyard.errors import EnvironmentException
from runyard_server.environments.conda_channels import ALWAYS, NEVER
from runyard_server.environments.programs import masked

_SPEC = re.compile(r"^(?:(?P<channel>\S+)::)?(?P<name>[A-Za-z0-9_][\w.\-]*)\s*(?P<rest>.*)$")
_BRACKET = re.compile(r"\[.*\]$")
_VERSION = re.compile(r"^[0-9][\w.!+]*(\.\*|\*)?$")

# conda's name -> pip's name, where they differ
PIP_NAMES = {
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "torchvision-cpu": "torchvision",
    "tensorflow-base": "tensorflow",
    "tensorflow-mkl": "tensorflow",
    "tensorflow-eigen": "tensorflow",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-lightgbm": "lightgbm",
    "opencv": "opencv-python-headless",
    "py-opencv": "opencv-python-headless",
    "matplotlib-base": "matplotlib",
    "dask-core": "dask",
    "msgpack-python": "msgpack",
    "pytables": "tables",
    "ruamel_yaml": "ruamel.yaml",
    "faiss": "faiss-cpu",
    "python-dateutil": "python-dateutil",
    "python-graphviz": "graphviz",
    "seaborn-base": "seaborn",
    "brotlipy": "brotlipy",
    "pillow-simd": "pillow-simd",
    "jupyter_client": "jupyter-client",
    "typing_extensions": "typing-extensions",
    "importlib_metadata": "importlib-metadata",
    "antlr-python-runtime": "antlr4-python3-runtime",
    "snappy": "python-snappy",
}

# What conda lists beside an interpreter and every interpreter here brings along, or pip's own tools.
PART_OF_PYTHON = frozenset(
    """_libgcc_mutex _openmp_mutex libgcc libgcc-ng libgomp libstdcxx libstdcxx-ng ld_impl_linux-64 libffi openssl
    readline sqlite libsqlite tk xz zlib libzlib ncurses bzip2 ca-certificates libuuid libnsl libedit python_abi
    libexpat libxcrypt liblzma nomkl blas libblas libcblas liblapack libopenblas openblas mkl mkl-service mkl_fft
    mkl_random intel-openmp pip""".split()
)

_CUDA = "the framework's own wheels bring CUDA: remove it and set use_gpu=True"
_MPI = "install it on the nodes, remove it here, and keep mpi4py or horovod in pip_packages"
# Another starter of ranks than runyard's would come first on PATH: only a channel's own name brings one.
_STARTERS = frozenset({"openmpi", "mpich", "impi_rt"})
CONDA_ONLY = {
    "cudatoolkit": _CUDA,
    "cudatoolkit-dev": _CUDA,
    "cuda": _CUDA,
    "cuda-toolkit": _CUDA,
    "cudnn": _CUDA,
    "cupti": _CUDA,
    "nccl": _CUDA,
    "pytorch-cuda": _CUDA,
    "openmpi": _MPI,
    "mpich": _MPI,
    "impi_rt": _MPI,
}
_SYSTEM = frozenset(
    """gcc gxx gcc_linux-64 gxx_linux-64 gfortran_linux-64 compilers c-compiler cxx-compiler make git git-lfs nodejs
    openjdk ffmpeg graphviz gdal libgdal geos proj hdf5 libnetcdf boost libboost boost-cpp arrow-cpp eigen glib
    libtorch r-base r-essentials bedtools samtools rust go ghostscript imagemagick libgl openblas-devel swig
    unixodbc postgresql mysql redis-server redis tesseract poppler""".split()
)


NOT_WANTED = "is not to be used for this environment (conda_solver is 'never')"


@dataclass(frozen=True)
class CondaAnswer:
    """What the conda packages of a spec come to.

    Attributes:
        requirements: pip requirement line by the conda spec that it answers.
        python_version: from ``python=3.7``, or None.
        solver: specs for the conda solver.
    """

    requirements: dict[str, str] = field(default_factory=dict)
    python_version: str | None = None
    notes: list[str] = field(default_factory=list)
    solver: list[str] = field(default_factory=list)


def answer(
    specs: list[str], solver: str = NEVER, only_conda: Collection[str] = (), no_solver: str = NOT_WANTED
) -> CondaAnswer:
    """Answers conda match specs from pip's registry, and leaves to the conda solver what that lacks.

    Args:
        solver: which specs go to it: see ``conda_channels``.
        only_conda: specs that pip's registry turned out to lack.
        no_solver: why there is no solver, where ``solver`` is "never".
    Raises:
        EnvironmentException: a spec that cannot be read, or packages that only conda has and no solver to ask.
    """
    requirements: dict[str, str] = {}
    python_version: str | None = None
    to_solver: list[str] = []
    refused: list[str] = []
    dropped: list[str] = []
    builds: list[str] = []
    for spec in specs:
        name, version = _split(spec)
        has_channel = channel_of(spec) is not None
        is_exact = solver != NEVER and (has_channel or _names_a_build(spec, version) or _is_condas(version))
        if name == "python":
            python_version = _python(spec, version)
            if is_exact:
                to_solver.append(spec)
        elif name in _STARTERS and not (is_exact and has_channel):
            refused.append(f"{name} ({cure(name)})")
        elif is_exact or solver == ALWAYS or spec in only_conda:
            to_solver.append(spec)
        elif name in PART_OF_PYTHON:
            dropped.append(name)
        elif name in CONDA_ONLY or name in _SYSTEM or name.startswith("r-"):
            if solver != NEVER:
                to_solver.append(spec)
            else:
                refused.append(f"{name} ({cure(name) or 'install it on the nodes with their own package manager'})")
        else:
            specifier, build = _specifier(spec, version)
            if build:
                builds.append(spec)
            requirements[spec] = PIP_NAMES.get(name, name) + specifier
    if refused:
        raise EnvironmentException(_refusal(refused, solver, no_solver))
    return CondaAnswer(requirements, python_version, _notes(requirements, dropped, builds, to_solver), to_solver)


def cure(name: str) -> str:
    """What else than conda's package of this name may serve; "" where nothing is known."""
    return CONDA_ONLY.get(name, "")


def name_of(spec: str) -> str:
    """The package that a conda match spec names.

    Raises:
        EnvironmentException: it cannot be read.
    """
    return _split(spec)[0]


def channel_of(spec: str) -> str | None:
    """The channel that a conda match spec names."""
    match = _SPEC.match(spec.strip())
    return match["channel"] if match else None


def _refusal(refused: list[str], solver: str, no_solver: str) -> str:
    if solver != NEVER:
        return (
            f"These conda packages would stand in the way of runyard's own: {'; '.join(refused)}. Remove them from "
            "conda_packages; or name the channel ('conda-forge::openmpi') to have them all the same."
        )
    return (
        f"Only conda has these packages, and the conda solver {no_solver}: {'; '.join(refused)}. "
        "Remove them from conda_packages, or run with user_managed_dependencies=True on an interpreter "
        "that has them."
    )


def _names_a_build(spec: str, version: str) -> bool:
    within = _BRACKET.search(spec.strip())
    if within:
        return "build" in within[0]
    if version[:1] in ("<", ">", "!", "~"):
        return False
    number, _, rest = version.lstrip("=").strip().partition("=")
    return bool(rest) or bool(number.partition(" ")[2].strip())


def _is_condas(version: str) -> bool:
    """Whether a version is written as only conda writes one: alternatives, or a range and a build."""
    return "|" in version or re.search(r"[<>=]\s*[\w.*]+\s+[\w*]+$", version) is not None


def _notes(requirements: dict[str, str], dropped: list[str], builds: list[str], to_solver: list[str]) -> list[str]:
    notes = []
    if to_solver:
        notes.append(f"conda packages are taken from conda channels: {', '.join(masked(spec) for spec in to_solver)}")
    if requirements:
        taken = ", ".join(
            line if _same_name(spec, line) else f"{line} (for conda's {spec})" for spec, line in requirements.items()
        )
        notes.append(f"conda packages are taken from pip's registry: {taken}")
    if dropped:
        notes.append(f"conda packages that come with the interpreter or its wheels are left out: {', '.join(dropped)}")
    if builds:
        notes.append(f"conda build numbers mean nothing to pip and are left out: {', '.join(builds)}")
    return notes


def _same_name(spec: str, line: str) -> bool:
    name = re.split(r"[=<>!~ ]", line)[0]
    return canonicalize_name(_split(spec)[0]) == canonicalize_name(name)


def _split(spec: str) -> tuple[str, str]:
    match = _SPEC.match(_BRACKET.sub("", spec.strip()))
    if match is None:
        raise EnvironmentException(
            f"The conda package {masked(spec)!r} cannot be read. Write a name and a version, "
            "such as 'numpy=1.24' or 'numpy>=1.24'."
        )
    return match["name"].lower(), match["rest"].strip()


def _specifier(spec: str, version: str) -> tuple[str, bool]:
    """The pip version specifier of a conda version, and whether a build string was dropped."""
    if version in ("", "*", "=*", "==*"):
        return "", False
    build = False
    if version.startswith("=") and not version.startswith("=="):  # name=1.2 or name=1.2=py37_0
        number, _, rest = version[1:].strip().partition("=")
        build = bool(rest)
        exact = build
    elif version.startswith("=="):
        number, _, rest = version[2:].strip().partition("=")
        build, exact = bool(rest), True
    elif _VERSION.match(version.partition(" ")[0]):  # "name 1.2" or "name 1.2 py37_0"
        number, _, rest = version.partition(" ")
        build, exact = bool(rest.strip()), True
    else:
        return _ranges(spec, version), False
    if "," in number or "|" in number:
        raise _unreadable(spec)
    number = number.strip()
    if not _VERSION.match(number):
        raise _unreadable(spec)
    if number.endswith("*"):
        return f"=={number.rstrip('*').rstrip('.')}.*", build
    return (f"=={number}" if exact else f"=={number}.*"), build


def _ranges(spec: str, version: str) -> str:
    parts = [part.strip() for part in version.split(",")]
    if "|" in version or not all(re.match(r"^(>=|<=|==|!=|~=|>|<)\s*[0-9][\w.*+!]*$", part) for part in parts):
        raise _unreadable(spec)
    return ",".join(part.replace(" ", "") for part in parts)


def _unreadable(spec: str) -> EnvironmentException:
    return EnvironmentException(
        f"The version in the conda package {spec!r} cannot be read as pip's. "
        "Write 'name=1.2', 'name==1.2.3' or 'name>=1.2,<2'."
    )


def _python(spec: str, version: str) -> str | None:
    if not version or version == "*":
        return None
    match = re.match(r"^[=~>]*\s*(\d+(?:\.\d+){0,2})(?:\.\*)?(?:[=\s,].*)?$", version)
    if match is None:
        raise EnvironmentException(f"The Python version in {spec!r} cannot be read. Write 'python=3.11'.")
    return match[1]
