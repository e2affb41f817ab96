"""Ports for gangs: where the first rank listens, chosen before anything is started and the same for every node."""

import random
import socket
from collections.abc import Set

from runyard.distributed.topology import port_count
from runyard.protocol.runs import RunRecord

_LOWEST = 20_000
_TRIES = 1_000
_OUTGOING = "/proc/sys/net/ipv4/ip_local_port_range"
_OUTGOING_DEFAULT = 32_768  # Linux's own, and below that of others


def needs_ports(run: RunRecord) -> bool:
    """Whether its ranks listen at addresses that they must know before they start."""
    return run.spec is not None and port_count(run.spec.distribution) > 0


def lease_ports(run: RunRecord, taken: Set[int]) -> list[int]:
    """What the run's ranks need to find each other; no port for most runs.

    Args:
        taken: leased by other runs; a rank of theirs may not listen yet.
    """
    leased: list[int] = []
    for _ in range(port_count(run.spec.distribution) if run.spec is not None else 0):
        leased.append(_free_port(taken | set(leased)))
    return leased


def _free_port(taken: Set[int]) -> int:
    """A port on which nobody listens now.

    It lies below those that the system gives to outgoing connections: nothing but a listener that somebody has put
    there on purpose can take it until the first rank does. A rank that finds it taken says so.
    """
    candidates = range(_LOWEST, max(_LOWEST + _TRIES, _first_outgoing()))
    for port in random.sample(candidates, _TRIES):
        if port not in taken and _is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that ended a moment ago keeps nobody away
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _first_outgoing() -> int:
    try:
        with open(_OUTGOING) as file:
            return int(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return _OUTGOING_DEFAULT
