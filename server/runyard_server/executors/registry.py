"""Executors by name. Each is imported when it is first asked for, with what it needs."""

from importlib import import_module
from typing import Any

from runyard.errors import ComputeTargetException
from runyard_server.executors.base import Executor

EXECUTORS: dict[str, str] = {
    "local": "runyard_server.executors.local:LocalExecutor",
    "ray": "runyard_server.executors.ray:RayExecutor",
    "slurm": "runyard_server.executors.slurm:SlurmExecutor",
}
EXTRAS: dict[str, str] = {}  # executor -> the extra of the wheel that brings what it imports


class UnknownExecutorError(ComputeTargetException):
    """No executor of that name."""


class MissingExtraError(ComputeTargetException):
    """The executor exists; the packages that it needs are not installed."""


def executor_class(name: str) -> type[Executor]:
    """The class of an executor.

    Raises:
        UnknownExecutorError: the name is not in the table.
        MissingExtraError: a package that the executor imports is missing.
    """
    if name not in EXECUTORS:
        known = ", ".join(sorted(EXECUTORS))
        raise UnknownExecutorError(f"There is no executor {name!r}. This server has: {known}.")
    return _load(name, EXECUTORS[name])


def create_executor(name: str, **settings: Any) -> Executor:
    """An executor, built with ``settings`` (see its constructor).

    Raises:
        UnknownExecutorError, MissingExtraError: as ``executor_class``.
    """
    return executor_class(name)(**settings)


def _load(name: str, path: str) -> type[Executor]:
    module, _, attribute = path.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if name not in EXTRAS:
            raise
        extra = f"runyard-server[{EXTRAS[name]}]"
        raise MissingExtraError(
            f"Executor '{name}' needs the package '{error.name}', which is not installed. "
            f"Install it: uv pip install '{extra}'"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Executor)):
        raise TypeError(f"{path} is not an Executor")
    return found
