"""The packages of an environment: Python version, conda packages, pip packages."""

import os
import re
from typing import Any, Dict, Iterable, List, Optional

from runyard import conda_file
from runyard.errors import UserErrorException

CPU = "cpu"
GPU = "gpu"
DEFAULT_FILE = "conda_dependencies.yml"
_NAME = "project_environment"
_REPEATABLE = ("--extra-index-url", "--find-links", "-f", "--trusted-host", "--no-binary", "--only-binary")


class CondaDependencies:
    """Packages of an environment, in the shape of a conda environment file.

    Args:
        conda_dependencies_file_path: a file to start from; nothing by default, not even a Python
            version (the server then takes the one that suits).
    Raises:
        UserErrorException: the file cannot be read as a conda environment file.
    """

    def __init__(
        self,
        conda_dependencies_file_path: Optional[str] = None,
        _underlying_structure: Optional[Dict[str, Any]] = None,
    ) -> None:
        content: Dict[str, Any] = {}
        if conda_dependencies_file_path:
            content = conda_file.read(os.path.expanduser(str(conda_dependencies_file_path)))
        elif _underlying_structure is not None:
            content = conda_file.parse(conda_file.dump(_underlying_structure))
        self._name: str = content.get("name") or _NAME
        self._channels: List[str] = list(content.get("channels") or [])
        self._variables: Dict[str, str] = {key: value or "" for key, value in (content.get("variables") or {}).items()}
        self._conda: List[str] = []
        self._pip: List[str] = []
        self._options: List[str] = []
        for item in content.get("dependencies") or []:
            if isinstance(item, dict):
                self._take_pip(item["pip"] or [])
            else:
                self._conda.append(item)

    @staticmethod
    def create(
        pip_indexurl: Optional[str] = None,
        pip_packages: Optional[List[str]] = None,
        conda_packages: Optional[List[str]] = None,
        python_version: Optional[str] = None,
        pin_sdk_version: bool = True,
    ) -> "CondaDependencies":
        """Packages from lists.

        Args:
            pip_indexurl: index that pip's packages come from.
            python_version: "3.11", "3.7.16"; None leaves it to the server.
            pin_sdk_version: accepted; runyard's own packages always match the server.
        """
        made = CondaDependencies()
        if python_version is not None:
            made.set_python_version(python_version)
        for package in _listed(conda_packages, "conda_packages"):
            made.add_conda_package(package)
        for package in _listed(pip_packages, "pip_packages"):
            made.add_pip_package(package)
        if pip_indexurl:
            made.set_pip_index_url(pip_indexurl)
        return made

    @staticmethod
    def merge_requirements(requirements: Iterable[str]) -> List[str]:
        """One requirement per package: the version conditions of the same package joined with commas."""
        merged: Dict[str, List[str]] = {}
        names: Dict[str, str] = {}
        for requirement in requirements:
            match = re.match(r"^\s*([A-Za-z0-9][\w.\-]*(?:\[[^\]]*\])?)\s*(.*?)\s*$", requirement)
            if match is None:
                raise UserErrorException("The requirement {!r} has no package name.".format(requirement))
            key = _canonical(match.group(1))
            names.setdefault(key, match.group(1))
            conditions = merged.setdefault(key, [])
            conditions.extend(part for part in match.group(2).split(",") if part and part not in conditions)
        return [names[key] + ",".join(conditions) for key, conditions in merged.items()]

    @property
    def conda_channels(self) -> List[str]:
        """Channels, the first preferred."""
        return list(self._channels)

    @property
    def conda_packages(self) -> List[str]:
        """Conda packages as match specs, ``python=...`` among them if it was set."""
        return list(self._conda)

    @property
    def pip_packages(self) -> List[str]:
        """pip's packages as requirement lines."""
        return list(self._pip)

    @property
    def pip_options(self) -> List[str]:
        """Options such as ``--index-url https://...``."""
        return list(self._options)

    @property
    def variables(self) -> Dict[str, str]:
        """Environment variables that the conda file sets."""
        return dict(self._variables)

    def get_default_number_of_packages(self) -> int:
        """Packages that are there without being asked for: none."""
        return 0

    def get_python_version(self) -> Optional[str]:
        """The Python version, "3.11"; None where the server is to decide."""
        for package in self._conda:
            if _package(package) == "python":
                match = re.search(r"\d+(?:\.\d+)*", package[len("python") :])
                return match.group(0) if match else None
        return None

    def set_python_version(self, version: Optional[str]) -> None:
        """Sets the Python version, "3.11" or "3.7.16"; None leaves it to the server."""
        self._conda = [package for package in self._conda if _package(package) != "python"]
        if version is not None:
            if not re.match(r"^\d+(\.\d+){0,2}(\.\*)?$", str(version)):
                raise UserErrorException(
                    "python_version is a version such as '3.11' or '3.7.16', not {!r}.".format(version)
                )
            self._conda.insert(0, "python={}".format(version))

    def set_pip_index_url(self, index_url: str) -> None:
        """Sets the index that pip's packages come from."""
        self.set_pip_option("--index-url {}".format(index_url))

    def add_channel(self, channel: str) -> None:
        """Adds a conda channel, after those that are there."""
        if channel not in self._channels:
            self._channels.append(_text(channel, "channel"))

    def remove_channel(self, channel: str) -> None:
        """Removes a conda channel; does nothing where it is not there."""
        self._channels = [each for each in self._channels if each != channel]

    def add_conda_package(self, conda_package: str) -> None:
        """Adds a conda package ("numpy", "numpy=1.24"); takes the place of the same package."""
        name = _package(_text(conda_package, "conda package"))
        self._conda = [each for each in self._conda if _package(each) != name] + [conda_package.strip()]

    def remove_conda_package(self, conda_package: str) -> None:
        """Removes a conda package, whatever its version; does nothing where it is not there."""
        name = _package(conda_package)
        self._conda = [each for each in self._conda if _package(each) != name]

    def add_pip_package(self, pip_package: str) -> None:
        """Adds a pip package ("six", "six==1.16"); takes the place of the same package."""
        if _text(pip_package, "pip package").strip().startswith("-"):
            self.set_pip_option(pip_package)
            return
        name = _package(pip_package)
        self._pip = [each for each in self._pip if _package(each) != name] + [pip_package.strip()]

    def remove_pip_package(self, pip_package: str) -> None:
        """Removes a pip package, whatever its version; does nothing where it is not there."""
        name = _package(pip_package)
        self._pip = [each for each in self._pip if _package(each) != name]

    def set_pip_requirements(self, pip_requirements: Iterable[str]) -> None:
        """Replaces all pip packages and options by these lines."""
        self._pip = []
        self._options = []
        self._take_pip(_listed(pip_requirements, "pip_requirements"))

    def set_pip_option(self, pip_option: str) -> None:
        """Adds an option such as ``--extra-index-url https://...``; one that pip takes once is replaced."""
        option = _text(pip_option, "pip option").strip()
        flag = _flag(option)
        if flag not in _REPEATABLE:
            self.remove_pip_option(flag)
        if option not in self._options:
            self._options.append(option)

    def remove_pip_option(self, pip_option: str) -> None:
        """Removes an option by its flag (``--index-url``) or as a whole."""
        option = pip_option.strip()
        self._options = [each for each in self._options if each != option and _flag(each) != option]

    def add_tensorflow_pip_package(self, core_type: str = CPU, version: Optional[str] = None) -> None:
        """Adds TensorFlow from pip, its CPU or GPU build."""
        self._add_framework(self.add_pip_package, "tensorflow", core_type, version, "==")

    def add_tensorflow_conda_package(self, core_type: str = CPU, version: Optional[str] = None) -> None:
        """Adds TensorFlow as a conda package, its CPU or GPU build."""
        self._add_framework(self.add_conda_package, "tensorflow", core_type, version, "=")

    def add_cntk_package(self, core_type: str = CPU) -> None:
        """Adds CNTK from pip, its CPU or GPU build."""
        self._add_framework(self.add_pip_package, "cntk", core_type, None, "==")

    def as_dict(self) -> Dict[str, Any]:
        """The content of the conda environment file."""
        dependencies: List[Any] = list(self._conda)
        if self._pip or self._options:
            dependencies.append({"pip": self._options + self._pip})
        content: Dict[str, Any] = {"name": self._name, "dependencies": dependencies, "channels": list(self._channels)}
        if self._variables:
            content["variables"] = dict(self._variables)
        return content

    def serialize_to_string(self) -> str:
        """The text of the conda environment file."""
        return conda_file.dump(self.as_dict())

    def save(self, path: Optional[str] = None) -> str:
        """Writes the conda environment file to ``path`` (a file or a directory; here by default); gives its path."""
        target = os.path.abspath(path or os.getcwd())
        if os.path.isdir(target):
            target = os.path.join(target, DEFAULT_FILE)
        with open(target, "w", encoding="utf-8") as stream:
            stream.write(self.serialize_to_string())
        return target

    def save_to_file(self, base_directory: str, conda_file_path: Optional[str] = None) -> str:
        """Writes the file below ``base_directory``; gives its path relative to that."""
        relative = conda_file_path or DEFAULT_FILE
        target = os.path.join(base_directory, relative)
        os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
        self.save(target)
        return relative

    def copied(self) -> "CondaDependencies":
        """A copy that can be changed without touching this one."""
        return CondaDependencies(_underlying_structure=self.as_dict())

    def _take_pip(self, lines: Iterable[str]) -> None:
        for line in lines:
            (self._options if line.strip().startswith("-") else self._pip).append(line.strip())

    def _add_framework(self, add: Any, name: str, core_type: str, version: Optional[str], equals: str) -> None:
        if core_type not in (CPU, GPU):
            raise UserErrorException("core_type is '{}' or '{}', not {!r}.".format(CPU, GPU, core_type))
        for each in (name, name + "-gpu"):
            self.remove_pip_package(each)
        add((name + "-gpu" if core_type == GPU else name) + (equals + version if version else ""))

    def __repr__(self) -> str:
        return self.serialize_to_string()


def _package(spec: str) -> str:
    """The canonical package name of a requirement or match spec; the line itself where it has none."""
    match = re.match(r"^\s*(?:\S+::)?([A-Za-z0-9_][\w.\-]*)\s*(?:$|[=<>!~\[;@ ,(])", spec)
    return _canonical(match.group(1)) if match else spec.strip()


def _flag(option: str) -> str:
    return re.split(r"[\s=]", option, maxsplit=1)[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.split("[")[0]).lower()


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise UserErrorException("A {} is one line of text such as 'numpy', not {!r}.".format(what, value))
    return value


def _listed(value: Any, what: str) -> List[str]:
    if value is None:
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise UserErrorException("{} is a list of packages such as ['numpy'], not {!r}.".format(what, value))
    return [_text(item, what + " item") for item in value]
