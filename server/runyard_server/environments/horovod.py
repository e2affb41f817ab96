"""Horovod: which version belongs to a TensorFlow, and the recipe by which it is compiled.

Its makers give the source alone. What comes of it fits one Python, one TensorFlow and one MPI, so it is
compiled here, once, against exactly those of a lock (``compiling.py``), and kept (``wheels.py``).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from runyard.errors import EnvironmentException
from runyard.protocol.environments import CompiledPackage

NAME = "horovod"
TENSORFLOW = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "intel-tensorflow")
# What Horovod imports. No framework's date touches these: as of 2019 some had no wheel for Linux.
NEEDS = ("cloudpickle", "psutil", "pyyaml", "packaging", "six")
UNDATED = ("cloudpickle", "psutil", "pyyaml")
_IS_DIRECT = re.compile(r"^(/|file:|git\+|https?://)|^[\w.\-\[\], ]+@")
_LEGACY_KERAS = (
    "add the pip package tf-keras and the environment variable TF_USE_LEGACY_KERAS=1, or ask for TensorFlow 2.15"
)

# Where a wheel's library finds MPICH: beside whatever environment it is installed into.
RPATH = "$ORIGIN/../../../.."
_VARIABLES = {
    "HOROVOD_WITH_TENSORFLOW": "1",
    "HOROVOD_WITH_MPI": "1",
    "HOROVOD_WITHOUT_PYTORCH": "1",
    "HOROVOD_WITHOUT_MXNET": "1",
    "HOROVOD_WITHOUT_GLOO": "1",
    "LDFLAGS": f"-Wl,-s -Wl,-rpath,{RPATH}",  # without symbols: 21 MB less
}
_INCLUDED = "-g0 -w -include stdexcept"  # newer compilers' headers do not bring it along any more

# Headers that newer TensorFlows have moved or do not ship. What includes them is compiled for GPUs alone.
_XLA = (
    "tf2xla/xla_op_kernel.h",
    "tf2xla/xla_op_registry.h",
    "xla/client/xla_builder.h",
    "xla/service/custom_call_target_registry.h",
    "xla/service/hlo.pb.h",
    "xla/shape.h",
    "xla/xla_data.pb.h",
)
_KERAS_ANCHOR = "    class _DistributedOptimizer(*optimizer.__class__.__bases__):\n"
_KERAS_GUARD = f"""\
    if any(base.__module__.split(".")[0] == "keras" for base in type(optimizer).__mro__):
        import keras as _keras
        if int(_keras.__version__.split(".")[0]) >= 3:
            raise RuntimeError(
                "Horovod cannot average the gradients of a Keras 3 optimizer: each rank would train alone, and nothing "
                "would say so. To train with Keras 2: {_LEGACY_KERAS}; or write the loop with DistributedGradientTape.")
"""


@dataclass(frozen=True)
class Edit:
    """A change to the source: ``new`` comes before the one place that reads ``anchor``."""

    path: str
    anchor: str
    new: str


@dataclass(frozen=True)
class Recipe:
    """How one version is compiled for some versions of TensorFlow.

    Attributes:
        name: as a lock names it. A recipe that comes to something else gets another name.
        tensorflow: the first version that it is for, and the first that it is not for any more.
        stands_for: the versions of Horovod whose scripts run with it unchanged: the first, and the first not.
        tools: pip requirement lines of what only the compilation needs.
        variables: of the compilation; ``{headers}`` is the folder of ``empty_headers``.
        empty_headers: below ``{headers}``.
    """

    name: str
    version: str
    source_sha256: str
    tensorflow: tuple[str, str]
    stands_for: tuple[str, str]
    tools: tuple[str, ...]
    variables: Mapping[str, str]
    empty_headers: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()


_OF_2023 = "92a43f5a94c43907a56805bad15f19700c62ffc83b7ca483f9e104e229f67ef0"
_TOOLS_OF_2023 = ("setuptools==68.0.0", "wheel==0.42.0", "cmake==3.31.10", "ninja==1.11.1.4")
_VARIABLES_OF_2023 = {
    **_VARIABLES,
    "CMAKE_GENERATOR": "Ninja",  # of the tools: the host need not have make
    "LDFLAGS": f"-Wl,-s -Wl,-rpath,\\{RPATH}",  # Ninja's commands go through a shell
    "MAKEFLAGS": "-j1",  # else setup.py asks for eight compilers at once
}
_EDITS_OF_2023 = (
    Edit("horovod/_keras/__init__.py", _KERAS_ANCHOR, _KERAS_GUARD),
    # What debuggers read is a third of the compilation, and is stripped away in the end. It stands behind our own -g0.
    Edit(
        "CMakeLists.txt",
        'string(REPLACE "-O2" "-O3" CMAKE_CXX_FLAGS_RELWITHDEBINFO ',
        'string(REPLACE "-g " "" CMAKE_CXX_FLAGS_RELWITHDEBINFO "${CMAKE_CXX_FLAGS_RELWITHDEBINFO}")\n',
    ),
)

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="horovod-0.16.4/1",
        version="0.16.4",
        source_sha256="871de9f0dfef7ddda637ee78ce7d95494340f7f8eb9fbd0c3cf13df7e68c5812",
        tensorflow=("1.13", "2.0"),
        stands_for=("0.15", "0.18"),
        tools=("setuptools==59.8.0", "wheel==0.37.1"),
        variables={**_VARIABLES, "CFLAGS": _INCLUDED},
    ),
    Recipe(
        name="horovod-0.28.1/1",
        version="0.28.1",
        source_sha256=_OF_2023,
        tensorflow=("2.0", "2.16"),
        stands_for=("0.16", "0.29"),
        tools=_TOOLS_OF_2023,
        variables={**_VARIABLES_OF_2023, "CXXFLAGS": _INCLUDED},
        edits=_EDITS_OF_2023,
    ),
    Recipe(
        name="horovod-0.28.1-without-xla/1",
        version="0.28.1",
        source_sha256=_OF_2023,
        tensorflow=("2.16", "2.22"),
        stands_for=("0.16", "0.29"),
        tools=_TOOLS_OF_2023,
        variables={**_VARIABLES_OF_2023, "CXXFLAGS": f"-I{{headers}} {_INCLUDED}"},
        empty_headers=tuple(f"tensorflow/compiler/{name}" for name in _XLA),
        edits=_EDITS_OF_2023,
    ),
)


@dataclass(frozen=True)
class Wish:
    """That an environment is to have Horovod.

    Attributes:
        specifier: the versions that the user asked for, "" for any.
        is_named: False where it only comes along with TensorFlow and MPI.
    """

    specifier: str
    is_named: bool


@dataclass(frozen=True)
class Choice:
    """What a wish comes to with the pins of a lock; ``recipe`` is None where there is none for them."""

    recipe: Recipe | None
    against: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def package(self, tools: str) -> CompiledPackage:
        """For the lock. ``tools``: the exact pins of the recipe's tools."""
        assert self.recipe is not None
        recipe = self.recipe
        return CompiledPackage(NAME, recipe.version, recipe.source_sha256, recipe.name, self.against, tools)


def wished(own: Sequence[tuple[str, str]], framework: str | None, mpi: bool) -> Wish | None:
    """Whether an environment gets Horovod, by its packages (canonical name, pip line), framework and kind of run.

    Raises:
        EnvironmentException: it is asked for without TensorFlow.
    """
    lines = [line for name, line in own if name == NAME]
    if any(_IS_DIRECT.match(line) for line in lines):
        return None  # a wheel or source of the user's own
    has_tensorflow = framework == "tensorflow" or any(name in TENSORFLOW for name, _ in own)
    if lines and not has_tensorflow:
        raise EnvironmentException(
            "Horovod is compiled here for TensorFlow, and the environment names none. Add the pip package tensorflow, or "
            "a framework_version of the TensorFlow estimator. The ranks of PyTorch meet without it: torch.distributed, "
            "with PyTorchConfiguration. A Horovod that you have compiled yourself is taken as 'horovod @ file:///...'."
        )
    if lines:
        return Wish(_specifier(lines[0]), is_named=True)
    return Wish("", is_named=False) if mpi and framework == "tensorflow" else None


def choose(wish: Wish, pins: Mapping[str, str], python_version: str) -> Choice:
    """The recipe for the versions that a lock pins (name -> version).

    Raises:
        EnvironmentException: Horovod was asked for and cannot be had with them.
    """
    name = next((each for each in TENSORFLOW if each in pins), None)
    recipe = recipe_for(pins[name]) if name else None
    if name is None or recipe is None:
        said = (
            f"No Horovod is known to work with TensorFlow {pins[name]}"
            if name
            else "The environment comes to no TensorFlow that Horovod could be compiled for"
        )
        if wish.is_named:
            raise EnvironmentException(f"{said}. Ask for a TensorFlow from {_span()}.")
        return Choice(None, warnings=[f"{said}, so the environment has none. Those from {_span()} get one."])
    minor = ".".join(python_version.split(".")[:2])
    against = [f"python=={minor}", f"{name}=={pins[name]}", f"mpich=={pins['mpich']}"]
    notes = [f"Horovod {recipe.version} is compiled for {name} {pins[name]} and MPICH {pins['mpich']}"]
    warnings = _of_version(wish, recipe, pins[name])
    if pins.get("keras", "").split(".")[0] not in ("", "0", "1", "2"):
        warnings.append(
            f"Keras {pins['keras']} is in the environment, whose optimizers Horovod cannot average: its DistributedOptimizer "
            f"refuses them, DistributedGradientTape works. To train with Keras 2: {_LEGACY_KERAS}."
        )
    return Choice(recipe, against, notes, warnings)


def recipe_for(tensorflow: str) -> Recipe | None:
    """The recipe for a version of TensorFlow ("2.15.1", or "2.15")."""
    version = Version(tensorflow)
    for recipe in RECIPES:
        if Version(recipe.tensorflow[0]) <= version < Version(recipe.tensorflow[1]):
            return recipe
    return None


def recipe_named(name: str) -> Recipe:
    """The recipe that a lock names.

    Raises:
        EnvironmentException: there is none of that name any more.
    """
    for recipe in RECIPES:
        if recipe.name == name:
            return recipe
    raise EnvironmentException(
        f"The lock of the environment names the recipe {name!r}, which this server does not have. Submit the script anew."
    )


def _of_version(wish: Wish, recipe: Recipe, tensorflow: str) -> list[str]:
    """A warning where another version was asked for than there is."""
    asked = SpecifierSet(wish.specifier)
    if asked.contains(recipe.version, prereleases=True):
        return []
    first, end = (Version(each) for each in recipe.stands_for)
    numbers = [_number(each.version) for each in asked]
    if not all(number is not None and first <= number < end for number in numbers):
        raise EnvironmentException(
            f"Horovod {wish.specifier} cannot be had with TensorFlow {tensorflow}: {recipe.version} is compiled for it, "
            f"which stands for {recipe.stands_for[0]} and later, below {recipe.stands_for[1]}. Ask for 'horovod' "
            "without a version, or for another TensorFlow."
        )
    return [
        f"Horovod {wish.specifier} was asked for; {recipe.version} is installed instead, which is the one that can be "
        f"compiled for TensorFlow {tensorflow}. Scripts for that version run with it unchanged."
    ]


def _number(text: str) -> Version | None:
    try:
        return Version(text.removesuffix(".*"))
    except InvalidVersion:
        return None


def _specifier(line: str) -> str:
    try:
        return str(Requirement(line.split(" --hash", 1)[0].strip()).specifier)
    except InvalidRequirement as error:  # requirements.py has read the line before
        raise EnvironmentException(f"The pip package {line!r} cannot be read: {error}") from error


def _span() -> str:
    return f"{RECIPES[0].tensorflow[0]} up to (not with) {RECIPES[-1].tensorflow[1]}"
