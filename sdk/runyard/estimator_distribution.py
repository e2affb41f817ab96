"""What an estimator's arguments say of how a run's processes find each other."""

import copy
from typing import Any, Dict, List, Optional, Tuple

from runyard.errors import UserErrorException
from runyard.runconfig import (
    Distributed,
    MpiConfiguration,
    PyTorchConfiguration,
    RunConfiguration,
    TensorflowConfiguration,
)


def distribute(settings: RunConfiguration, given: Dict[str, Any], backends: Tuple[str, ...], estimator: str) -> None:
    """Sets how many processes a run has and how they find each other.

    Args:
        given: the arguments of the estimator's constructor by name.
        backends: those that the estimator knows: "mpi", "ps", "gloo", "nccl".
        estimator: its name, for messages.
    Raises:
        UserErrorException: counts below 1, several processes without a backend, or another one's.
    """
    nodes = _whole("node_count", given.get("node_count", 1))
    per_node = _whole("process_count_per_node", given.get("process_count_per_node", 1))
    distributed = _distributed(given, backends, estimator)
    if distributed is None:
        if nodes > 1 or per_node > 1:
            raise UserErrorException(
                "node_count={} and process_count_per_node={} need to know how the processes find each other. "
                "Give distributed_training={}.".format(nodes, per_node, " or ".join(_names(backends)))
            )
        return
    distributed = copy.copy(distributed)
    nodes = _agreed("node_count", nodes, getattr(distributed, "node_count", 1))
    if isinstance(distributed, MpiConfiguration):
        own = _whole("process_count_per_node", distributed.process_count_per_node)
        distributed.process_count_per_node = _agreed("process_count_per_node", per_node, own)
    elif isinstance(distributed, PyTorchConfiguration):
        if distributed.process_count is None:
            distributed.process_count = nodes * per_node
        elif per_node > 1 and distributed.process_count != nodes * per_node:
            raise UserErrorException(
                "process_count={} and node_count={} with process_count_per_node={} differ. Give one of them.".format(
                    distributed.process_count, nodes, per_node
                )
            )
    elif per_node > 1:
        raise UserErrorException(
            "With parameter servers the processes are counted by worker_count and parameter_server_count of "
            "TensorflowConfiguration; leave process_count_per_node at 1."
        )
    settings.distribute(distributed)
    settings.node_count = nodes


def _distributed(given: Dict[str, Any], backends: Tuple[str, ...], estimator: str) -> Optional[Distributed]:
    """How the processes find each other, from ``distributed_training`` or the older ``distributed_backend``."""
    training, backend = given.get("distributed_training"), given.get("distributed_backend")
    if training is not None and backend is not None:
        raise UserErrorException("Give distributed_training or the older distributed_backend, not both.")
    chosen = training if training is not None else backend
    if chosen is None:
        return None
    if isinstance(chosen, str):
        kind = chosen.lower()
        built = _from_name(kind, given)
    else:
        kind = _kind(chosen)
        built = chosen
    if kind not in backends:
        raise UserErrorException(
            "{} does not run with the backend {!r}. It takes distributed_training={}.".format(
                estimator, chosen if isinstance(chosen, str) else kind, " or ".join(_names(backends))
            )
        )
    if isinstance(built, TensorflowConfiguration) and not isinstance(chosen, str):
        for name in ("worker_count", "parameter_server_count"):
            asked = _whole(name, given.get(name, 1))
            if asked != 1:
                built = copy.copy(built)
                setattr(built, name, _agreed(name, asked, getattr(built, name)))
    return built


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserErrorException("{} is a whole number of at least 1; this is {!r}.".format(name, value))
    return value


def _agreed(name: str, argument: int, configured: Any) -> int:
    """The one of two counts that was set; 1 means that it was not."""
    configured = _whole(name, configured)
    if argument != 1 and configured != 1 and argument != configured:
        raise UserErrorException(
            "{}={} and the distributed_training's {}={} differ. Give it once.".format(name, argument, name, configured)
        )
    return configured if argument == 1 else argument


def _from_name(kind: str, given: Dict[str, Any]) -> Optional[Distributed]:
    if kind == "mpi":
        return MpiConfiguration()
    if kind == "ps":
        workers = _whole("worker_count", given.get("worker_count", 1))
        return TensorflowConfiguration(
            workers, _whole("parameter_server_count", given.get("parameter_server_count", 1))
        )
    return PyTorchConfiguration(kind.capitalize()) if kind in ("gloo", "nccl") else None


def _kind(distributed: Any) -> str:
    if isinstance(distributed, MpiConfiguration):
        return "mpi"
    if isinstance(distributed, TensorflowConfiguration):
        return "ps"
    if isinstance(distributed, PyTorchConfiguration):
        return str(distributed.communication_backend).lower()
    raise UserErrorException(
        "distributed_training is MpiConfiguration(), TensorflowConfiguration() or PyTorchConfiguration(); this is a "
        "{}.".format(type(distributed).__name__)
    )


def _names(backends: Tuple[str, ...]) -> List[str]:
    constructors = {
        "mpi": "MpiConfiguration()",
        "ps": "TensorflowConfiguration()",
        "gloo": "PyTorchConfiguration('Gloo')",
        "nccl": "PyTorchConfiguration('Nccl')",
    }
    return [constructors[backend] for backend in backends]
