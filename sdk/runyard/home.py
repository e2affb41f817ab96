"""Where runyard keeps things on this machine: one folder per workspace below ``~/.runyard``."""

import json
import os
from typing import Any, Dict, List, Optional

DEFAULT_WORKSPACE = "default"
DEFAULT_SUBSCRIPTION = "local"
DEFAULT_RESOURCE_GROUP = "local"


def root() -> str:
    """``$RUNYARD_HOME``, else ``~/.runyard``: absolute."""
    return os.path.abspath(os.path.expanduser(os.environ.get("RUNYARD_HOME") or os.path.join("~", ".runyard")))


def workspaces_folder() -> str:
    return os.path.join(root(), "workspaces")


def workspace_folder(name: str) -> str:
    return os.path.join(workspaces_folder(), name)


def identity_file(folder: str) -> str:
    return os.path.join(folder, "workspace.json")


def read_json(path: str) -> Optional[Dict[str, Any]]:
    """The file's JSON object, None where there is no such file or it is half-written."""
    try:
        with open(path, encoding="utf-8") as source:
            value = json.load(source)
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: str, value: Any, private: bool = False) -> None:
    """Writes the file whole or not at all; ``private`` lets only the owner read it."""
    temporary = "{}.{}.tmp".format(path, os.getpid())
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as target:
        json.dump(value, target, indent=2)
        target.write("\n")
    os.replace(temporary, path)


def workspace_names() -> List[str]:
    """Names of the embedded workspaces on this machine."""
    try:
        names = sorted(os.listdir(workspaces_folder()))
    except FileNotFoundError:
        return []
    return [name for name in names if os.path.exists(identity_file(workspace_folder(name)))]
