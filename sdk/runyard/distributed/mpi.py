"""MPI: what starts MPICH's process manager, and what its parts say.

MPICH's ``mpiexec`` starts no process on a node by itself with ``-launcher manual``: it prints, for
each node, the command of a proxy that somebody there has to start, and waits for the proxies to
connect. The jobs that stand on the nodes are that somebody, so no SSH is needed. See
https://github.com/pmodels/mpich/blob/main/doc/wiki/how_to/Using_the_Hydra_Process_Manager.md
"""

import os
import re
from typing import List, Optional

from runyard.protocol.jobs import JobAssignment

PROXY = "hydra_pmi_proxy"
_LAUNCH = "HYDRA_LAUNCH: "
_LAUNCH_END = "HYDRA_LAUNCH_END"
_ABORT = re.compile(r"^Abort\((\d+)\) on node \d+", re.MULTILINE)

# The rank's own command differs from node to node, so each node's proxy carries it in its environment.
PYTHON, WRAPPER = "RUNYARD_RANK_PYTHON", "RUNYARD_RANK_WRAPPER"
_RANK = 'exec "${}" -I -S "${}"'.format(PYTHON, WRAPPER)


def mpiexec_command(mpiexec: str, assignment: JobAssignment) -> List[str]:
    """The command that brings the run's ranks together; to be started on its first node.

    The nodes get made-up names: Hydra counts two nodes of one name as one. Nothing resolves them.
    """
    per_node = assignment.distribution.process_count_per_node
    names = ["node{}".format(node) for node in range(assignment.node_count)]
    return [
        mpiexec,
        *("-launcher", "manual"),
        *("-hosts", ",".join(names)),
        *("-localhost", assignment.addresses[0]),
        "-genvnone",  # ranks take their environment from their own node's proxy
        *("-wdir", "/"),
        *("-n", str(assignment.node_count * per_node)),
        *("-ppn", str(per_node)),
        *("/bin/sh", "-c", _RANK),
    ]


class LaunchLines:
    """Reads what ``mpiexec`` prints up to the last proxy's command."""

    def __init__(self) -> None:
        self._found: List[str] = []

    def read(self, line: str) -> Optional[List[str]]:
        """Takes one line; the proxies' commands by node, once all have been read."""
        if line.startswith(_LAUNCH):
            self._found.append(line[len(_LAUNCH) :].strip())
        return list(self._found) if line.strip() == _LAUNCH_END else None


def proxy_command(proxy: str, line: str) -> List[str]:
    """A node's proxy from the line that the first node's ``mpiexec`` printed for it.

    Args:
        proxy: the program on this node; the line names that of the first node.
    Raises:
        ValueError: the line starts something else.
    """
    words = line.split()
    if not words or os.path.basename(words[0]) != PROXY:
        raise ValueError("not the command of a {}: {!r}".format(PROXY, line[:200]))
    return [proxy] + words[1:]


def abort_code(output: str) -> Optional[int]:
    """The code with which a rank has called ``MPI_Abort``, by what MPICH lets it print; None if it has not."""
    found = _ABORT.findall(output)
    return int(found[-1]) if found else None


def before_abort(output: str) -> str:
    """What a rank printed itself, without what MPICH adds when it is ended."""
    found = _ABORT.search(output)
    return output[: found.start()] if found else output
