"""Ranks over nodes: which ranks stand on a node, and what each is told of the others."""

from typing import Dict, List

from runyard.protocol.jobs import JobAssignment


def ranks_of_node(assignment: JobAssignment) -> List[int]:
    """Global ranks of the processes on this node: consecutive, node after node."""
    per_node = assignment.distribution.process_count_per_node
    return [assignment.node * per_node + local for local in range(per_node)]


def rank_environment(assignment: JobAssignment, rank: int) -> Dict[str, str]:
    """Variables by which a rank finds the others, for the run's kind of distribution."""
    kind = assignment.distribution.kind
    if kind == "torch":
        from runyard.distributed import torch

        return torch.rank_environment(assignment, rank)
    return {"AZUREML_CR_NODE_RANK": str(assignment.node)}
