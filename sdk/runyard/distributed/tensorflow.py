"""TensorFlow: workers and parameter servers, told of each other by ``TF_CONFIG``.

The variable's form is that of TensorFlow's own cluster resolvers:
https://www.tensorflow.org/api_docs/python/tf/distribute/cluster_resolver/TFConfigClusterResolver
"""

import json
from typing import Dict, List

from runyard.distributed.topology import Rank
from runyard.distributed.topology import ranks as all_ranks
from runyard.protocol.jobs import JobAssignment
from runyard.protocol.run_parts import DistributionSpec


def ranks(distribution: DistributionSpec, node_count: int) -> List[Rank]:
    """The chief if there is one, workers, then parameter servers, each kind dealt out to the nodes in turn."""
    tasks = [("chief", 0)] if distribution.chief else []
    tasks += [("worker", index) for index in range(distribution.worker_count)]
    tasks += [("ps", index) for index in range(distribution.parameter_server_count)]
    servers = ("worker", "ps") if distribution.chief else ("ps",)
    here = [0] * node_count
    found = []
    for number, (task, index) in enumerate(tasks):
        node = index % node_count
        found.append(Rank(number, node, here[node], task, index, serves=task in servers))
        here[node] += 1
    return found


def rank_environment(assignment: JobAssignment, rank: Rank) -> Dict[str, str]:
    """``TF_CONFIG`` of one task. The assignment's ports are the tasks', by rank."""
    cluster: Dict[str, List[str]] = {}
    for each in all_ranks(assignment.distribution, assignment.node_count):
        address = "{}:{}".format(assignment.addresses[each.node], assignment.ports[each.number])
        cluster.setdefault(str(each.task), []).append(address)
    config = {"cluster": cluster, "task": {"type": rank.task, "index": rank.index}, "environment": "cloud"}
    # A task that waits for one which is still starting must not give up on it at once.
    return {"TF_CONFIG": json.dumps(config), "GRPC_FAIL_FAST": "use_caller"}
