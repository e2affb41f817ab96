"""Which nodes Ray has been told that it will lose. It tells that to its own programs alone, in words that are no promise.

It takes a part of Ray that needs most of a second of a core to import and 80 MB, and then a millisecond for each question.
"""

import os
import threading
from typing import Any, Callable, Optional, Sequence, Set

from runyard.job import processes

LOOK_EVERY_S = 2.0
_ALONE_FOR_S = 5.0  # how long a run on one node goes without looking: a short one is not to pay for it
_LAST_S = 2.5
_PATIENCE_S = 2.0
_LEAVES = "its node {} is about to be taken away"


class Notices:
    """Asks the head of the cluster that this process stands in.

    Args:
        head: what asks it; by default Ray's own.
    Raises:
        Exception: whatever Ray's parts do where there is no such way, as in other versions, or no head.
    """

    def __init__(self, head: Optional[Any] = None) -> None:
        if head is None:
            from ray._raylet import GcsClient

            head = GcsClient(address=os.environ["RAY_ADDRESS"])
        self._head = head

    def draining(self) -> Set[str]:
        """Ids of the nodes that will be taken away."""
        return {_hex(node) for node in self._head.get_draining_nodes(timeout=_PATIENCE_S)}

    def leaving(self, nodes: Sequence[str]) -> str:
        """Which of these nodes will be taken away, for people; "" where none will."""
        draining = self.draining()
        return next((_LEAVES.format(node[:8]) for node in nodes if node in draining), "")

    def node_of(self, daemon: Sequence[str]) -> str:
        """The id of the node whose daemon has this command line; "" where the head knows none."""
        for node, told in self._head.get_all_node_info(timeout=_PATIENCE_S).items():
            own = {
                "--node_ip_address={}".format(told.node_manager_address),
                "--raylet_socket_name={}".format(told.raylet_socket_name),  # the same on each machine
            }
            if own <= set(daemon):
                return _hex(node)
        return ""


class OwnNotice:
    """Looks for a notice of the node that this process stands on.

    Args:
        tell: is told, once, in words.
        alone_for_s: how long nobody looks.
    """

    def __init__(self, tell: Callable[[str], None], alone_for_s: float = _ALONE_FOR_S) -> None:
        self._tell = tell
        self._alone_for_s = alone_for_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="notice", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Looks no more: what is Ray's is not to be in work when the process ends."""
        self._over.set()
        self._thread.join(_LAST_S)

    def _look(self) -> None:
        notices: Optional[Notices] = None
        own, leaving, rests_s = "", "", self._alone_for_s
        while not leaving and not self._over.wait(rests_s):
            rests_s = LOOK_EVERY_S
            try:
                notices = notices or Notices()
                own = own or notices.node_of(own_daemon())
                leaving = notices.leaving([own])
            except ImportError:  # one node alone can do without the cluster's own Python
                return
            except Exception:  # another version of Ray, or a head that is away: no notice can be had just now
                continue
        if leaving:
            self._tell(leaving)


def own_daemon() -> Sequence[str]:
    """The command line of Ray's daemon that this process descends from; nothing where it descends from none."""
    table = processes.all_processes()
    pid = os.getpid()
    while pid in table:
        command = processes.command_of(pid)
        if any(word.startswith("--raylet_socket_name=") for word in command):
            return command
        pid = table[pid].parent
    return ()


def _hex(node: Any) -> str:
    return node if isinstance(node, str) else str(node.hex())
