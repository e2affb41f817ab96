"""PyTorch: one process per rank, told where the first one listens."""

from typing import Dict

from runyard.distributed.topology import Rank
from runyard.protocol.jobs import JobAssignment


def rank_environment(assignment: JobAssignment, rank: Rank) -> Dict[str, str]:
    """``MASTER_ADDR``, ``MASTER_PORT``, ``WORLD_SIZE``, ``RANK``, ``LOCAL_RANK``, ``NODE_RANK``.

    The names are those of torch.distributed's ``env://`` initialisation.
    """
    per_node = assignment.distribution.process_count_per_node
    return {
        "MASTER_ADDR": assignment.addresses[0],
        "MASTER_PORT": str(assignment.ports[0]),
        "WORLD_SIZE": str(assignment.node_count * per_node),
        "RANK": str(rank.number),
        "LOCAL_RANK": str(rank.local),
        "LOCAL_WORLD_SIZE": str(per_node),
        "NODE_RANK": str(assignment.node),
    }
