"""The file that names a workspace: where it is looked for, as Azure ML does, and how it is read."""

import json
import os
from typing import Any, Dict, Optional

from runyard.errors import WorkspaceException

_CONFIG_FOLDERS = (".azureml", "aml_config", "")
_CONFIG_NAMES = ("config.json", "project.json")


def find(path: Optional[str], file_name: Optional[str]) -> Optional[str]:
    """The first configuration file for ``path`` (a file, a folder, or None for the working directory), upwards."""
    if path is not None and os.path.isfile(path):
        return path
    folder = os.path.abspath(path or os.getcwd())
    names = (file_name,) if file_name else _CONFIG_NAMES
    while True:
        for below in _CONFIG_FOLDERS:
            for name in names:
                candidate = os.path.join(folder, below, name)
                # A foreign project.json or config.json without a workspace is somebody else's file.
                if os.path.isfile(candidate) and (below or _names_workspace(candidate)):
                    return candidate
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def _names_workspace(path: str) -> bool:
    """Whether a plain config file is meant for us; one that cannot be read is, so that its fault is told."""
    try:
        with open(path, encoding="utf-8") as source:
            said = json.load(source)
    except (ValueError, RecursionError):
        return True
    return isinstance(said, dict) and bool({"workspace_name", "server", "Scope", "Id"} & set(said))


def read(path: str) -> Dict[str, Any]:
    """What the file says; it names a workspace or a server.

    Raises:
        WorkspaceException: it cannot be read, is not JSON, or names neither.
    """
    try:
        with open(path, encoding="utf-8-sig") as source:
            said = json.load(source)
    except (ValueError, RecursionError) as fault:
        raise WorkspaceException(
            "{} is not JSON ({}). It needs an object like "
            '{{"subscription_id": "...", "resource_group": "...", "workspace_name": "..."}}; '
            "Workspace(...).write_config() writes one.".format(path, fault)
        ) from fault
    except OSError as fault:
        raise WorkspaceException("{} cannot be read: {}.".format(path, fault.strerror)) from fault
    if isinstance(said, dict):
        scope = said.get("Scope") or said.get("Id")
        if scope and "workspace_name" not in said:  # the older form: one path of names
            parts = [part for part in str(scope).split("/") if part]
            said.update(
                {
                    key: parts[parts.index(word) + 1]
                    for key, word in (
                        ("subscription_id", "subscriptions"),
                        ("resource_group", "resourceGroups"),
                        ("workspace_name", "workspaces"),
                    )
                    if word in parts[:-1]
                }
            )
        if said.get("workspace_name") or said.get("server"):
            return said
    raise WorkspaceException(
        "{} names no workspace. It needs the keys subscription_id, resource_group and workspace_name.".format(path)
    )
