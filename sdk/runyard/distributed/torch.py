"""PyTorch: one process per rank, told where the first one listens."""

from typing import Dict, Optional

from runyard.distributed.topology import Rank
from runyard.protocol.jobs import JobAssignment

THREADS = "OMP_NUM_THREADS"


def rank_defaults(assignment: JobAssignment) -> Dict[str, str]:
    """One thread for each rank where several share a machine, as torchrun has it: each would take all cores else."""
    return {THREADS: "1"} if _ranks_beside(assignment) > 1 else {}


def note_of_defaults(assignment: JobAssignment) -> Optional[str]:
    """What is to be said of ``rank_defaults`` where they count."""
    beside = _ranks_beside(assignment)
    if beside < 2:
        return None
    return (
        "{0}=1 is set for each of the {1} ranks that share this machine, as torchrun does, so that they do not all take "
        "all of its cores. A rank that computes on the CPU may want more, the cores divided by {1}: give the run "
        'environment_variables={{"{0}": ...}}.'
    ).format(THREADS, beside)


def _ranks_beside(assignment: JobAssignment) -> int:
    """How many of the run's ranks stand on this node's machine: several nodes may be slots of one."""
    own = assignment.addresses[assignment.node]
    return assignment.addresses.count(own) * assignment.distribution.process_count_per_node


def rank_environment(assignment: JobAssignment, rank: Rank) -> Dict[str, str]:
    """``MASTER_ADDR``, ``MASTER_PORT``, ``WORLD_SIZE``, ``RANK``, ``LOCAL_RANK``, ``NODE_RANK`` and their relatives.

    The names are those that torchrun sets, ``env://`` reads and Azure has beside them. Those by which torchrun says
    that it watches over the ranks (``TORCHELASTIC_...``) are not among them: it does not.
    https://pytorch.org/docs/stable/elastic/run.html
    """
    per_node = assignment.distribution.process_count_per_node
    size, node = str(assignment.node_count * per_node), str(assignment.node)
    return {
        "MASTER_ADDR": assignment.addresses[0],
        "MASTER_PORT": str(assignment.ports[0]),
        "WORLD_SIZE": size,
        "RANK": str(rank.number),
        "LOCAL_RANK": str(rank.local),
        "LOCAL_WORLD_SIZE": str(per_node),
        "NODE_RANK": node,
        "GROUP_RANK": node,
        "GROUP_WORLD_SIZE": str(assignment.node_count),
        "ROLE_NAME": "default",
        "ROLE_RANK": str(rank.number),
        "ROLE_WORLD_SIZE": size,
    }
