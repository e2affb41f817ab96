"""PyTorch: one process per rank, told where the first one listens."""

from typing import Dict

from runyard.distributed.topology import Rank
from runyard.protocol.jobs import JobAssignment


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
