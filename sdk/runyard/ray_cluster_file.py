"""A Ray cluster file (``ray up``) with a compute target's sizes in it, and the cluster that is started from it."""

import os
import shutil
import subprocess
from importlib import import_module
from typing import Any, Dict, Optional

from runyard.errors import ComputeTargetException

# Where a cloud's own word for the kind of machine stands in a node type's node_config.
_MACHINE_KEYS = {
    "aws": ("InstanceType",),
    "gcp": ("machineType",),
    "azure": ("azure_arm_parameters", "vmSize"),
}


def sized(
    cluster: Dict[str, Any],
    min_nodes: int,
    max_nodes: int,
    idle_seconds: Optional[int] = None,
    machine: str = "",
    resources: Optional[Dict[str, float]] = None,
    node_type: Optional[str] = None,
) -> Dict[str, Any]:
    """The cluster with these sizes; everything else stays as its author wrote it.

    Args:
        cluster: what the file holds.
        machine: the cloud's own name of the kind of machine; "" leaves the file's.
        resources: what Ray is told that each node has; None leaves what the file says.
        node_type: which of the file's node types is meant; None for the only one beside the head's.
    Raises:
        ComputeTargetException: it is no cluster file, or several node types could be meant.
    """
    types = cluster.get("available_node_types")
    head = cluster.get("head_node_type")
    if not isinstance(types, dict) or not isinstance(head, str) or head not in types:
        raise ComputeTargetException(
            "This is no Ray cluster file: it has no available_node_types with its head_node_type among them."
        )
    for name in types:
        if not isinstance(name, str) or not isinstance(types[name] or {}, dict):
            raise ComputeTargetException("Its node type {!r} is not a name with settings below it.".format(name))
    workers = [name for name in types if name != head]
    chosen = node_type if node_type is not None else workers[0] if len(workers) == 1 else None
    if chosen not in workers:
        raise ComputeTargetException(
            "Which nodes do the runs get? Name one of the file's node types beside the head's, node_type=...: {}.".format(
                ", ".join(workers) or "it has none"
            )
        )
    kind = dict(types[chosen] or {}, min_workers=min_nodes, max_workers=max_nodes)
    if machine:
        provider = str(_settings(cluster, "provider").get("type"))
        kind["node_config"] = _with_machine(_settings(kind, "node_config"), provider, machine)
    if resources is not None:
        kind["resources"] = {**_settings(kind, "resources"), **resources}
    others = sum(_count(types[name] or {}, "max_workers") for name in workers if name != chosen)
    sizes: Dict[str, Any] = {
        "max_workers": max_nodes + others,
        "available_node_types": dict(types, **{str(chosen): kind}),
    }
    if idle_seconds is not None:
        sizes["idle_timeout_minutes"] = round(idle_seconds / 60.0, 3)
    return dict(cluster, **sizes)


def _settings(above: Dict[str, Any], name: str) -> Dict[str, Any]:
    """What stands below ``name``: a copy, empty where nothing does."""
    found = above.get(name) or {}
    if not isinstance(found, dict):
        raise ComputeTargetException("Its {} is not settings with names, but {!r:.60}.".format(name, found))
    return dict(found)


def _count(above: Dict[str, Any], name: str) -> int:
    found = above.get(name) or 0
    if not isinstance(found, int):
        raise ComputeTargetException("Its {} is no number of nodes, but {!r:.60}.".format(name, found))
    return found


def write(path: str, **sizes: Any) -> str:
    """Writes the cluster of file ``path`` with ``sizes`` (see ``sized``) beside it; the path of the new file.

    Raises:
        ComputeTargetException: the file cannot be read, or is no cluster file.
    """
    try:
        yaml: Any = import_module("yaml")
    except ImportError:
        raise ComputeTargetException(
            "A Ray cluster file is read with PyYAML, which comes with Ray: pip install pyyaml."
        ) from None
    try:
        with open(path, encoding="utf-8") as source:
            cluster = yaml.safe_load(source)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as fault:
        raise ComputeTargetException("The cluster file {} cannot be read: {}".format(path, fault)) from fault
    if not isinstance(cluster, dict):
        raise ComputeTargetException("{} is no Ray cluster file.".format(path))
    text = yaml.safe_dump(sized(cluster, **sizes), sort_keys=False)
    base, ending = os.path.splitext(os.path.abspath(path))
    written = "{}.runyard{}".format(base, ending or ".yaml")
    with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as target:
        target.write(text)
    return written


def start(path: str) -> str:
    """Starts the cluster, or changes the one that runs (``ray up``); the address of its dashboard.

    Raises:
        ComputeTargetException: there is no ``ray`` on this machine's PATH, or it fails.
    """
    ray = shutil.which("ray")
    if ray is None:
        raise ComputeTargetException(
            "{0} is written, and there is no `ray` on this machine's PATH to start it. Run `ray up {0}` where Ray is, "
            "then attach the cluster: RayCompute.attach_configuration(address=...).".format(path)
        )
    _called(ray, "up", "--yes", path)  # what it says is shown as it comes: it takes minutes
    lines = _called(ray, "get-head-ip", path, is_read=True).split()
    if not lines:
        raise ComputeTargetException("`ray get-head-ip {}` names no address.".format(path))
    return "http://{}:8265".format(lines[-1])


def _called(*command: str, is_read: bool = False) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE if is_read else None, text=True)
    if done.returncode != 0:
        raise ComputeTargetException(
            "`{}` ended with exit code {}; what went wrong is above.".format(" ".join(command), done.returncode)
        )
    return done.stdout or ""


def _with_machine(node_config: Dict[str, Any], provider: str, machine: str) -> Dict[str, Any]:
    keys = _MACHINE_KEYS.get(provider)
    if keys is None:
        raise ComputeTargetException(
            "Which field of node_config names the machine is known for {}; for {} write it into the file itself.".format(
                ", ".join(sorted(_MACHINE_KEYS)), provider
            )
        )
    inner = node_config
    for key in keys[:-1]:
        inner[key] = _settings(inner, key)
        inner = inner[key]
    inner[keys[-1]] = machine
    return node_config
