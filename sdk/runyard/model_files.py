"""Files of models on this machine: what is registered from here, and where fetched ones are kept."""

import os
from typing import List, Optional, Sequence, Tuple

from runyard.errors import ModelException, ModelNotFoundException, ModelPathNotFoundException

MODELS_FOLDER = "azureml-models"  # below the working directory: azureml-models/<name>/<version>/<one entry>


def to_register(model_path: str, child_paths: Optional[Sequence[str]] = None) -> Tuple[str, List[Tuple[str, str]]]:
    """Name of the file or folder at ``model_path``, and its files as ``(name, local path)``.

    Links are followed. ``child_paths``: of a folder only these files and folders.

    Raises:
        ModelPathNotFoundException: no such file or folder.
        ModelException: an empty folder, or a child path outside it.
    """
    top = os.path.abspath(os.path.expanduser(os.fspath(model_path)))
    if not os.path.exists(top):
        raise ModelPathNotFoundException(
            "The model_path {} does not exist on this machine. Files of a run are registered with "
            "run.register_model(model_name, model_path).".format(top)
        )
    root = os.path.basename(top)
    if os.path.isfile(top):
        if child_paths:
            raise ModelException("child_paths choose from a folder; {} is a file.".format(top))
        return root, [(root, top)]
    files = {}
    for child in child_paths or [""]:
        for local in _files(_child(top, child)):
            files[root + "/" + os.path.relpath(local, top).replace(os.sep, "/")] = local
    if not files:
        raise ModelException("The folder {} holds no file, so there is nothing to register.".format(top))
    return root, sorted(files.items())


def version_folder(name: str, version: int) -> str:
    """Where a fetched version is kept."""
    return os.path.join(MODELS_FOLDER, name, str(version))


def fetched_earlier(name: str, version: Optional[int] = None) -> str:
    """Path of a model that is on this machine already: a fetched version (the newest), else ``./<name>``.

    Raises:
        ModelNotFoundException: neither is there.
    """
    folder = os.path.join(MODELS_FOLDER, name)
    if version is not None:
        wanted = version_folder(name, version)
        if os.path.isdir(wanted):
            return one_entry(wanted)
    elif os.path.isdir(folder):
        versions = [int(entry) for entry in os.listdir(folder) if entry.isdigit()]
        if versions:
            return one_entry(version_folder(name, max(versions)))
    if os.path.exists(name):
        return name
    raise ModelNotFoundException(
        "ModelNotFound: The model {!r}{} is neither in {} nor at {}. Inside a run it is fetched by itself; elsewhere "
        "call Model(workspace, {!r}).download().".format(
            name, "" if version is None else " version {}".format(version), folder, os.path.abspath(name), name
        )
    )


def one_entry(folder: str) -> str:
    """Path of the one file or folder in ``folder``.

    Raises:
        ModelException: there is none, or there are several.
    """
    entries = sorted(os.listdir(folder))
    if len(entries) == 1:
        return os.path.join(folder, entries[0])
    raise ModelException(
        "{} must hold exactly one file or folder, the model's; it holds: {}. Delete it to have the model fetched "
        "again.".format(folder, ", ".join(entries[:20]) or "nothing")
    )


def remove(folder: str) -> None:
    """Removes a folder and what is in it; one that is not there does not matter."""
    if os.path.isdir(folder):
        import shutil

        shutil.rmtree(folder)


def _child(top: str, child: str) -> str:
    local = os.path.normpath(os.path.join(top, child))
    if local != top and not local.startswith(top.rstrip(os.sep) + os.sep):
        raise ModelException("The child path {!r} leads out of {}.".format(child, top))
    if not os.path.exists(local):
        raise ModelPathNotFoundException("The child path {!r} is not in {}.".format(child, top))
    return local


def _files(local: str, above: Sequence[str] = ()) -> List[str]:
    if os.path.isfile(local):
        return [local]
    real = os.path.realpath(local)
    if real in above or not os.path.isdir(local):  # a link back to where it lies, or one that leads nowhere
        return []
    found: List[str] = []
    for entry in sorted(os.listdir(local)):
        found.extend(_files(os.path.join(local, entry), (*above, real)))
    return found
