"""What a spec asks for, as lines that the resolver takes: framework, pip and conda packages together."""

import re
from collections.abc import Collection
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from runyard import package_date
from runyard.errors import EnvironmentException
from runyard.protocol.environments import EnvironmentSpec
from runyard_server.environments import conda, conda_channels, cpu_builds, frameworks, horovod
from runyard_server.environments.conda_channels import CondaSettings
from runyard_server.environments.horovod import Wish
from runyard_server.environments.programs import masked
from runyard_server.environments.pythons_of_date import is_newer, pythons_of

OLDEST_PYTHON = (3, 7)
MPI = "mpich"
NOTEBOOK = ("papermill", "ipykernel")
# Called azureml-something without having a part of the package azureml: it goes beside ours, and is what was asked for.
_MICROSOFTS_OWN = frozenset({"azureml-inference-server-http"})
_PYTHON_VERSION = re.compile(r"^3(\.\d{1,2}(\.\d{1,2})?)?$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OPTION = re.compile(r"^(--?[A-Za-z][A-Za-z\-]*)(?:[\s=]\s*(.*))?$", re.DOTALL)
_OPTION_WITH_VALUE = {
    "-i": "--index-url",
    "--index-url": "--index-url",
    "--extra-index-url": "--extra-index-url",
    "-f": "--find-links",
    "--find-links": "--find-links",
    "--trusted-host": "--allow-insecure-host",
    "--no-binary": "--no-binary",
    "--only-binary": "--only-binary",
}
_OPTION_ALONE = {"--no-index": ["--no-index"], "--pre": ["--prerelease", "allow"]}


@dataclass(frozen=True)
class Wanted:
    """Input of the resolver.

    Attributes:
        lines: pip requirement lines.
        pythons: Python versions that will do, the best first; empty leaves it to the server.
        options: arguments for uv that say where packages come from.
        exclude_newer: UTC date after which nothing is taken.
        conda_names: pip's name -> the conda spec that asked for it, for messages.
        asked_date: the date that the spec itself asks for; conda's packages know no other.
        undated: projects that ``exclude_newer`` does not touch.
        horovod: that it is to have Horovod, of which ``lines`` then hold what that imports.
        warnings: notes that every run is to carry.
        conda: specs for the conda solver.
        conda_channels: where those come from.
        conda_beside: conda specs that hold for whatever the solver takes along, though pip's registry answers them.
        only_conda: specs among ``conda`` that pip's registry turned out to lack.
        may_turn_to_conda: whether what pip's registry lacks may be asked of conda.
        no_solver: why it may not.
    """

    lines: list[str] = field(default_factory=list)
    pythons: tuple[str, ...] = ()
    options: list[str] = field(default_factory=list)
    exclude_newer: str | None = None
    asked_date: str | None = None
    framework: str | None = None
    conda_names: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    undated: tuple[str, ...] = ()
    horovod: Wish | None = None
    warnings: list[str] = field(default_factory=list)
    conda: tuple[str, ...] = ()
    conda_channels: tuple[str, ...] = ()
    conda_beside: tuple[str, ...] = ()
    only_conda: frozenset[str] = frozenset()
    may_turn_to_conda: bool = False
    no_solver: str = ""

    @property
    def date_was_asked(self) -> bool:
        """Whether the date that counts is the spec's; else it is the framework's own."""
        return self.asked_date is not None and self.asked_date == self.exclude_newer


def wanted(
    spec: EnvironmentSpec,
    settings: CondaSettings | None = None,
    no_solver: str = conda.NOT_WANTED,
    only_conda: Collection[str] = (),
    pytorch_cpu: str = "",
) -> Wanted:
    """Merges everything that ``spec`` asks for.

    Args:
        settings: how conda packages are answered; None where there is no solver.
        no_solver: why there is none.
        only_conda: conda specs that pip's registry turned out to lack.
        pytorch_cpu: where PyTorch's CPU builds are, "" where no place is known: see ``cpu_builds``.
    Raises:
        EnvironmentException: a package line, version, framework or option that cannot be served.
    """
    notes: list[str] = []
    solver = conda_channels.solver_for(spec.conda_solver, settings)
    from_conda = conda.answer(spec.conda_packages, solver, only_conda, no_solver)
    own = _own_lines(spec.pip_packages, notes)
    taken = {name for name, _ in own}
    notes.extend(from_conda.notes)
    conda_names: dict[str, str] = {}
    for conda_spec, line in from_conda.requirements.items():
        name = canonicalize_name(Requirement(line).name)
        if _is_ours(name):
            notes.append(f"{name}: answered by runyard")
        elif name in taken:
            notes.append(f"{conda_spec}: pip_packages name it too, and theirs is taken")
        else:
            conda_names[name] = conda_spec
            own.append((name, line))
    python_version = spec.python_version or from_conda.python_version
    with_horovod = horovod.wished(own, spec.framework, spec.mpi)
    if with_horovod is not None:
        own = [pair for pair in own if pair[0] != horovod.NAME]
    lines: list[str] = []
    warnings: list[str] = []
    pythons: tuple[str, ...] = ()
    title = own_date = None
    if spec.framework:
        choice = frameworks.choose(spec.framework, spec.framework_version, spec.use_gpu)
        lines, framework_notes = _framework_lines(choice, own)
        pythons, own_date, title = choice.pythons, choice.as_of, f"{choice.title} {choice.version}"
        notes.extend(framework_notes)
        warnings.extend(choice.warnings)
    asked = package_date.checked(spec.packages_as_of) if spec.packages_as_of else None
    as_of = min(day for day in (asked, own_date) if day) if asked or own_date else None
    notes.extend(_notes_of_date(as_of, asked, title))
    if asked:
        pythons = _pythons_of_date(pythons, asked)
    options = uv_options(spec.pip_options)
    has_cpu_builds = bool(pytorch_cpu) and not spec.use_gpu and any(line.startswith("torch=") for line in lines)
    if has_cpu_builds:
        notes.append(cpu_builds.note(pytorch_cpu, asked))
    undated: tuple[str, ...] = ()
    if has_cpu_builds and not asked:
        options += cpu_builds.uv_options(pytorch_cpu)
        undated += cpu_builds.PROJECTS  # their index tells no upload times; the pin bounds them
    lines += [line for _, line in own]
    named = {name for name, _ in own}
    to_solver = [conda.name_of(each) for each in from_conda.solver]
    if (spec.mpi or with_horovod) and MPI not in named and MPI not in to_solver:
        # It is a program beside the packages, not one that they import: its date says nothing about them.
        lines.append(MPI)
        undated += (MPI,)
        notes.append(f"{MPI}: starts the ranks of an MPI run")
    if spec.mpi and spec.framework == "chainer" and "mpi4py" not in named:
        lines.append("mpi4py")  # as on Azure ML: ChainerMN speaks through it
        undated += ("mpi4py",)
    if with_horovod:
        lines += [name for name in horovod.NEEDS if name not in named]
        undated += tuple(name for name in horovod.UNDATED if name not in named)
    if spec.notebook:
        added = [name for name in NOTEBOOK if name not in named]
        lines += added
        if added:
            notes.append(f"{', '.join(added)}: the script is a notebook")
    return Wanted(
        lines=lines,
        pythons=_pythons(python_version, pythons, title, asked, notes),
        options=options,
        exclude_newer=as_of,
        asked_date=asked,
        framework=title,
        conda_names=conda_names,
        notes=notes,
        undated=undated,
        horovod=with_horovod,
        warnings=warnings,
        conda=_for_solver(from_conda.solver, solver),
        conda_channels=_channels(spec, from_conda.solver, settings, notes),
        conda_beside=tuple(from_conda.requirements),
        only_conda=frozenset(only_conda),
        may_turn_to_conda=solver == conda_channels.WHEN_NEEDED,
        no_solver=no_solver,
    )


def _for_solver(specs: list[str], solver: str) -> tuple[str, ...]:
    """The specs; where conda is to answer all, Python is conda's too."""
    is_python_asked = any(conda.name_of(each) == "python" for each in specs)
    if specs and solver == conda_channels.ALWAYS and not is_python_asked:
        return ("python", *specs)
    return tuple(specs)


def _channels(
    spec: EnvironmentSpec, specs: list[str], settings: CondaSettings | None, notes: list[str]
) -> tuple[str, ...]:
    if not specs or settings is None:
        return ()
    own = [channel for each in specs if (channel := conda.channel_of(each))]
    listed = conda_channels.chosen(spec.conda_channels, settings, notes)
    return tuple(dict.fromkeys([*listed, *(conda_channels.address(channel) for channel in own)]))


def _own_lines(packages: list[str], notes: list[str]) -> list[tuple[str, str]]:
    """(canonical name, line) of the pip packages that are to be installed."""
    kept: list[tuple[str, str]] = []
    for package in packages:
        line = re.sub(r"(^|\s)#.*$", "", package).strip()
        if not line:
            continue
        name = _project(line)
        if _is_ours(name):
            notes.append(f"{name}: answered by runyard")
        else:
            kept.append((name, line))
    return kept


def _framework_lines(choice: frameworks.FrameworkChoice, own: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    notes: list[str] = []
    named = {name for name, _ in own}
    replaced = sorted(named & choice.projects)
    if replaced:
        notes.append(f"{choice.title}: pip_packages name {', '.join(replaced)} itself, which is taken")
    lines = []
    for line in choice.requirements:
        name = canonicalize_name(Requirement(line).name)
        if name not in named and not (replaced and name in choice.projects):
            lines.append(line)
    return lines, notes


def _notes_of_date(as_of: str | None, asked: str | None, title: str | None) -> list[str]:
    """Which of the two days counts: the earlier, so that nothing is newer than either allows."""
    if as_of is None:
        return []
    if as_of != asked:
        late = f"; packages_as_of {asked} is later and changes nothing" if asked else ""
        return [f"{title}: packages are taken as of {as_of}{late}"]
    return [f"Packages are taken as of {as_of}, as packages_as_of (or {package_date.VARIABLE}) says"]


def _pythons_of_date(framework: tuple[str, ...], as_of: str) -> tuple[str, ...]:
    """The Pythons of that day; a framework's own where it has builds for some, those of the day first."""
    of_the_day = pythons_of(as_of)
    if not framework:
        return of_the_day
    return tuple(sorted(framework, key=lambda version: version not in of_the_day))


def _project(line: str) -> str:
    """The canonical project name of a requirement line.

    Raises:
        EnvironmentException: an option, a relative path, an editable install, or no requirement at all.
    """
    if _CONTROL.search(line):
        raise EnvironmentException(
            f"The pip package {masked(line)[:100]!r} has a control character in it. Give one package per item."
        )
    if line.startswith("-"):
        option = line.split()[0].partition("=")[0]
        raise EnvironmentException(
            f"The pip package {option!r} is an option. Give index options with CondaDependencies.set_pip_option "
            "or in a requirements file; nested files (-r) and editable installs (-e) cannot be sent: "
            "put such code into the source directory."
        )
    bare = line.split(" --hash", 1)[0].strip()
    path = re.match(r"^(/|file:/|git\+|https?://)(?P<rest>.*)$", bare)
    if path:
        egg = re.search(r"#egg=([\w.\-]+)", bare)
        name = egg[1] if egg else re.split(r"[-@]", bare.rstrip("/").rsplit("/", 1)[-1])[0]
        return canonicalize_name(name.removesuffix(".git") or "unnamed")
    try:
        return canonicalize_name(Requirement(bare).name)
    except InvalidRequirement as error:
        hint = ""
        if bare.startswith(".") or "/" in bare:
            hint = " A path must be absolute on the server."
        elif re.match(r"^[\w.\-]+=[^=]", bare):
            hint = f" pip writes '==': {bare.replace('=', '==', 1)!r}."
        raise EnvironmentException(
            f"The pip package {masked(bare)[:100]!r} cannot be read: {str(error).splitlines()[0]}.{hint} "
            "Write 'name', 'name==1.2.3' or 'name>=1.2,<2'."
        ) from None


def _is_ours(name: str) -> bool:
    if name in _MICROSOFTS_OWN:
        return False
    return name in ("azureml", "runyard", "runyard-azureml") or name.startswith("azureml-")


def _pythons(
    asked: str | None, offered: tuple[str, ...], title: str | None, as_of: str | None, notes: list[str]
) -> tuple[str, ...]:
    if not asked:
        return offered
    version = _raised(asked.strip(), notes)
    if as_of and version != "3" and is_newer(version, as_of):
        notes.append(f"Python {version} is newer than {as_of}: packages of that day may have no builds for it")
    if title and offered and ".".join(version.split(".")[:2]) not in offered and version != "3":
        raise EnvironmentException(
            f"{title} has no build for Python {version}. Allowed: {', '.join(sorted(offered, key=_number))}. "
            "Change python_version (or 'python=' in the conda packages), or leave it out."
        )
    return offered if offered and version == "3" else (version,)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _raised(version: str, notes: list[str]) -> str:
    """The version itself; 3.5 and 3.6, which Azure ML used, become 3.7 with a note."""
    if not _PYTHON_VERSION.match(version):
        raise EnvironmentException(
            f"The Python version {version!r} cannot be had. Write '3.11' or '3.11.7'; 3.7 is the oldest that runs here."
        )
    parts = [int(part) for part in version.split(".")]
    if len(parts) > 1 and parts[1] < OLDEST_PYTHON[1]:
        if parts[1] < 5:
            raise EnvironmentException(f"Python {version} is too old. 3.7 is the oldest that runs here.")
        notes.append(f"Python {version} was asked for; 3.7 is the oldest that runs here and is used instead")
        return "3.7"
    return version


def uv_options(options: list[str]) -> list[str]:
    """pip's index options as uv's arguments.

    Raises:
        EnvironmentException: an option that is not about where packages come from.
    """
    arguments: list[str] = []
    for option in options:
        if not option.strip():
            continue
        match = _OPTION.match(option.strip())
        name, value = (match[1], match[2]) if match else (option.strip()[:30], None)
        if name in _OPTION_ALONE and value is None:
            arguments.extend(_OPTION_ALONE[name])
        elif name in _OPTION_WITH_VALUE and value and not _CONTROL.search(value):
            arguments.extend([_OPTION_WITH_VALUE[name], value])
        else:
            allowed = ", ".join([*_OPTION_WITH_VALUE, *_OPTION_ALONE])
            raise EnvironmentException(f"The pip option {masked(name)!r} cannot be used here. Allowed: {allowed}.")
    return arguments
