"""What an estimator's arguments say of its environment: packages, files, image."""

import os
from typing import TYPE_CHECKING, Any, Dict, List

from runyard.errors import UserErrorException

if TYPE_CHECKING:
    from runyard.environment import Environment

_LISTS = ("conda_packages", "pip_packages")
_CONDA_FILES = ("conda_dependencies_file_path", "conda_dependencies_file")
_PIP_FILES = ("pip_requirements_file_path", "pip_requirements_file")
_IMAGES = ("custom_docker_base_image", "custom_docker_image")
_PACKAGES = _LISTS + _CONDA_FILES + _PIP_FILES


def check(given: Dict[str, Any]) -> None:
    """Which arguments exclude which: an environment is described in one way.

    Raises:
        UserErrorException: two that exclude each other, or packages that are no list of names.
    """
    packages = [name for name in _PACKAGES if given[name]]
    for name in _LISTS:
        _check_list(name, given[name])
    for one, other in (_CONDA_FILES, _PIP_FILES, _IMAGES):
        if given.get(one) and given.get(other):
            raise UserErrorException("Give {} or {}, not both: they mean the same.".format(other, one))
    if given["environment_definition"] is not None:
        others = packages + [name for name in _IMAGES + ("user_managed", "framework_version") if given.get(name)]
        if others:
            raise UserErrorException(
                "environment_definition describes the whole environment, so {} cannot be given with it. Set it on the "
                "Environment itself.".format(_listed(others))
            )
    if given["user_managed"]:
        others = packages + (["framework_version"] if given.get("framework_version") else [])
        if others:
            raise UserErrorException(
                "user_managed=True runs in an interpreter that is left untouched, so {} cannot be given with it. "
                "Install the packages there, or leave user_managed out.".format(_listed(others))
            )
    conda_file = [name for name in _CONDA_FILES if given[name]]
    others = [name for name in _LISTS + _PIP_FILES if given[name]]
    if conda_file and others:
        raise UserErrorException(
            "{} lists all packages, so {} cannot be given with it. Add them to the file.".format(
                conda_file[0], _listed(others)
            )
        )


def _check_list(name: str, value: Any) -> None:
    if value is not None and (
        not isinstance(value, (list, tuple)) or not all(isinstance(item, str) and item for item in value)
    ):
        raise UserErrorException(
            "{} is a list of names such as ['keras==2.2.4', 'matplotlib']; this is {!r}.".format(name, value)
        )


def build(given: Dict[str, Any], source_directory: str) -> "Environment":
    """The Environment that an estimator's arguments describe, apart from its framework.

    Raises:
        UserErrorException: a file that is not in the source directory, or cannot be read.
    """
    from runyard.environment import Environment

    if given["environment_definition"] is not None:
        defined: Environment = given["environment_definition"]
        return defined
    environment = Environment(name=None)
    conda_file = given["conda_dependencies_file"] or given["conda_dependencies_file_path"]
    pip_file = given["pip_requirements_file"] or given["pip_requirements_file_path"]
    if conda_file:
        path = _package_file("conda_dependencies_file", conda_file, source_directory)
        environment = Environment.from_conda_specification(name=None, file_path=path)
    elif pip_file:
        path = _package_file("pip_requirements_file", pip_file, source_directory)
        environment = Environment.from_pip_requirements(name=None, file_path=path)
    for package in given["conda_packages"] or ():
        environment.python.conda_dependencies.add_conda_package(package)
    for package in given["pip_packages"] or ():
        environment.python.conda_dependencies.add_pip_package(package)
    environment.python.user_managed_dependencies = bool(given["user_managed"])
    image = given["custom_docker_image"] or given.get("custom_docker_base_image")
    if image:
        environment.docker.base_image = image
        if given["image_registry_details"] is not None:
            environment.docker.base_image_registry = given["image_registry_details"]
    return environment


def _package_file(name: str, path: str, source_directory: str) -> str:
    found = os.path.join(source_directory, path)
    if not os.path.isfile(found):
        raise UserErrorException(
            "The {} {!r} is not in the source_directory {}. Give its path relative to that directory.".format(
                name, path, source_directory
            )
        )
    return found


def _listed(names: List[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
