"""Ranks over nodes: which ranks there are, where each stands, and what it is told of the others."""

from dataclasses import dataclass
from typing import Dict, List, Optional

from runyard.protocol.jobs import JobAssignment
from runyard.protocol.run_parts import DistributionSpec


@dataclass(frozen=True)
class Rank:
    """One of a run's processes.

    Attributes:
        number: its global rank, from 0.
        local: its position among its node's ranks.
        task: "chief", "worker" or "ps" in a run of TensorFlow's own distribution, else None.
        index: its position among the tasks of its kind.
        serves: whether it works for the others and never ends by itself: a parameter server, or a chief's worker.
    """

    number: int
    node: int
    local: int
    task: Optional[str] = None
    index: int = 0
    serves: bool = False

    @property
    def label(self) -> str:
        """How files and messages name it: ``3``, or ``worker_0``."""
        return str(self.number) if self.task is None else "{}_{}".format(self.task, self.index)


def ranks(distribution: DistributionSpec, node_count: int) -> List[Rank]:
    """Every rank of a run, by number.

    Ranks are consecutive, node after node. Of TensorFlow's the chief comes first if there is one,
    then the workers, then the parameter servers; each kind is dealt out to the nodes in turn, so that no node holds all servers.
    """
    if distribution.kind == "tensorflow":
        from runyard.distributed import tensorflow

        return tensorflow.ranks(distribution, node_count)
    per_node = distribution.process_count_per_node
    return [Rank(node * per_node + local, node, local) for node in range(node_count) for local in range(per_node)]


def is_alone(distribution: DistributionSpec, node_count: int) -> bool:
    """Whether a run has one rank in all: its files then need no name of a rank."""
    return len(ranks(distribution, node_count)) == 1


def log_of(label: str, alone: bool, attempt: int = 1) -> str:
    """The log among the run's that holds what a rank prints.

    Args:
        label: the rank's.
        alone: see ``is_alone``.
    """
    again = "" if attempt == 1 else "attempt-{}/".format(attempt)
    return "azureml-logs/{}70_driver_log{}.txt".format(again, "" if alone else "_" + label)


def ranks_of_node(assignment: JobAssignment) -> List[Rank]:
    """The ranks that stand on the assignment's node, by number."""
    return [rank for rank in ranks(assignment.distribution, assignment.node_count) if rank.node == assignment.node]


def rank_environment(assignment: JobAssignment, rank: Rank) -> Dict[str, str]:
    """Variables by which a rank finds the others, for the run's kind of distribution.

    An MPI rank learns its number from MPI alone, when it is started.
    """
    said = {"AZUREML_CR_NODE_RANK": str(assignment.node)}
    kind = assignment.distribution.kind
    if kind == "torch":
        from runyard.distributed import torch

        said.update(torch.rank_environment(assignment, rank))
    elif kind == "tensorflow":
        from runyard.distributed import tensorflow

        said.update(tensorflow.rank_environment(assignment, rank))
    return said


def rank_defaults(assignment: JobAssignment) -> Dict[str, str]:
    """Variables that a rank gets where neither the run nor its node has them."""
    if assignment.distribution.kind != "torch":
        return {}
    from runyard.distributed import torch

    return torch.rank_defaults(assignment)


def note_of_defaults(assignment: JobAssignment) -> Optional[str]:
    """What is to be said of ``rank_defaults`` where they count."""
    if assignment.distribution.kind != "torch":
        return None
    from runyard.distributed import torch

    return torch.note_of_defaults(assignment)


def port_count(distribution: DistributionSpec) -> int:
    """How many ports a run's processes listen on at addresses that they must know before they start."""
    if distribution.kind == "tensorflow":
        return len(ranks(distribution, 1))
    return 1 if distribution.kind == "torch" else 0
