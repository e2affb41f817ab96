"""``python -m runyard.job.ray_gang FOLDER NAME``: the driver of a run on Ray. It runs in the cluster's own Python.

The driver of a run on one node stands there already: Ray has started it where there was room, and it starts the run's
task (``held.py``). That of a gang stands on the head. It asks Ray for all the run's nodes at once, each on another
machine, starts the task on each of them, and stays until the last one has ended.

What the server is to know meanwhile is in ``NAME.state`` of the folder that both see: what is waited for, that it has
begun, that a node is about to be taken away (the server has the ranks end then, in order), which nodes were lost.
Whoever makes ``NAME.job`` first decides whether it begins: the driver when all nodes are there, or the server that
takes it back, which Ray itself cannot do with a job that waits.

Ray alone decides that a node is lost: a call that fails says only that it could not be reached just now.
"""

import os
import signal
import socket
import sys
import threading
import time
from abc import ABC, abstractmethod
from typing import Any, Dict, List, Optional, Sequence

from runyard.home import read_json, write_json
from runyard.job.held import hold
from runyard.job.ray_notice import LOOK_EVERY_S, Notices, OwnNotice
from runyard.job.task import EXIT_FILE

TAKEN_BACK = "taken back"  # what the server writes into NAME.job where it comes before the driver
NO_TASKS, NO_RAY = 71, 76  # exit codes of the driver itself, beside those of bootstrap.py
PREEMPTED, NODE_LOST, OUT_OF_MEMORY, TAKEN_AWAY = "preempted", "node_lost", "out_of_memory", "taken_away"

_LOOK_EVERY_S = 0.5
_ROOM_EVERY_S = 1  # whole seconds: Ray cuts off the rest, and would not wait at all
_LAST_S = 2.5  # after a SIGTERM of Ray's, which sends SIGKILL three seconds later


class Holder:
    """An actor of Ray's on one node."""

    def __init__(self, sdk_path: str = "") -> None:
        if sdk_path:
            sys.path.insert(0, sdk_path)
        self._ended = threading.Event()
        self._code = 0
        self._thread: Optional[threading.Thread] = None

    def where(self) -> Dict[str, Any]:
        """This node as the others are told of it."""
        import ray

        given = ray.get_runtime_context()
        gpus = given.get_accelerator_ids().get("GPU") or []
        return {
            "host": ray.util.get_node_ip_address(),
            "node": given.get_node_id(),
            "gpus": [str(each) for each in gpus],
        }

    def start(self, told: List[str], hosts: List[str], gpus: List[str]) -> None:
        """Starts the task; harmless when it has been started.

        Args:
            told: what ``_hold`` needs beside the run's nodes and the GPUs of this one.
        """

        daemon = os.getppid()

        def run() -> None:
            try:
                self._code = self._hold(told, hosts, gpus)
            finally:
                if self._code >= 0 or os.getppid() == daemon:  # else it was killed with its node, which Ray tells of
                    self._ended.set()

        if self._thread is None:
            self._thread = threading.Thread(target=run, name="task", daemon=True)
            self._thread.start()

    def wait(self) -> int:
        """The task's exit code, once it has ended."""
        self._ended.wait()
        return self._code

    def _hold(self, told: List[str], hosts: List[str], gpus: List[str]) -> int:
        from runyard.job import held  # on the node: this class came here without its module

        directory, sdk_path = told
        return held.hold(directory, sdk_path, hosts, gpus)


class Gang(ABC):
    """All nodes of an attempt.

    Args:
        count: how many they are.
        bundle: what each of them is to have.
    """

    holder = Holder

    def __init__(self, count: int, bundle: Dict[str, float]) -> None:
        self._count = count
        self._bundle = bundle
        self._told: Dict[str, Any] = {}
        self._lost: Dict[str, Dict[str, str]] = {}
        self._leaving = ""
        self._notices: Optional[Notices] = None
        self._notice_at = 0.0  # when to look again for one
        self.is_stopped = threading.Event()

    # What a gang in a folder, and one without, do each in its own way

    @abstractmethod
    def _may_begin(self) -> bool:
        """Takes the attempt, which only one can."""

    @abstractmethod
    def _is_taken_back(self) -> bool:
        """Whether somebody has ended what has not begun."""

    @abstractmethod
    def _write(self, told: Dict[str, Any]) -> None:
        """Tells the server."""

    @abstractmethod
    def _all_have_ended(self) -> bool:
        """Whether each node's task has said how it ended, whatever Ray still has to say."""

    @abstractmethod
    def _made_with(self) -> List[str]:
        """What a holder is made with."""

    @abstractmethod
    def _task_of(self, place: int) -> List[str]:
        """What a holder is told of its task."""

    @abstractmethod
    def _prepare(self, ray: Any) -> None:
        """Tells Ray how holders are brought to their nodes, where it is not as usual."""

    @abstractmethod
    def _hear_end(self, place: int, code: int) -> None:
        """A task's exit code."""

    def run(self) -> int:
        """All nodes, each another one."""
        import ray

        self._prepare(ray)
        group = self._wait_for_room(ray)
        if group is None:
            self._say(taken_back=True)
            return 0
        try:
            self._hold_all(ray, group)
        finally:
            ray.util.remove_placement_group(group)
        return 0

    def _wait_for_room(self, ray: Any) -> Any:
        """The placement group, once Ray has all its nodes; None if the run was taken back before that."""
        count = self._count
        self._say(**self._waits_for(ray))
        group = ray.util.placement_group([self._bundle] * count, strategy="STRICT_SPREAD")
        while not group.wait(_ROOM_EVERY_S):
            if self._is_taken_back():
                ray.util.remove_placement_group(group)
                return None
            self._say(**self._waits_for(ray))
        return group

    def _waits_for(self, ray: Any) -> Dict[str, Any]:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        able = [node for node in nodes if all(node["Resources"].get(k, 0) >= v for k, v in self._bundle.items())]
        count = self._count
        asked = "{} with {}".format("a node" if count == 1 else "{} nodes".format(count), described(self._bundle))
        waits = "waits for {}: {} of {} such nodes are here".format(asked, len(able), count)
        if len(able) >= count:
            waits = "waits for {} to become free".format(asked)
        return {"waiting": waits, "asked": count, "here": len(able)}

    def _hold_all(self, ray: Any, group: Any) -> None:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        own = dict(self._bundle)
        asked: Dict[str, Any] = {
            "num_cpus": own.pop("CPU", 0),
            "num_gpus": own.pop("GPU", 0),
            "memory": own.pop("memory", None),
        }
        asked.update(resources=own, max_restarts=0, max_concurrency=4)
        asked["runtime_env"] = {"env_vars": {"RAY_worker_niceness": "0"}}  # ranks are no background work
        actor = ray.remote(self.holder)
        places = range(self._count)
        holders = [
            actor.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, place), **asked).remote(
                *self._made_with()
            )
            for place in places
        ]
        where = self._where(ray, holders)
        if where is None:
            return
        if not self._may_begin():
            self._say(taken_back=True)
            return
        hosts = [each["host"] for each in where]
        self._say(begun=True)
        for place in places:
            holders[place].start.remote(self._task_of(place), hosts, where[place]["gpus"])
        waiting = {holders[place].wait.remote(): place for place in places}
        while waiting:
            ended, _ = ray.wait(list(waiting), timeout=_LOOK_EVERY_S)
            self._look_for_a_notice([where[place]["node"] for place in waiting.values()])
            for answer in ended:
                place = waiting.pop(answer)
                if not self._has_ended(ray, answer, place, where[place]["node"]):
                    waiting[holders[place].wait.remote()] = place
            if self.is_stopped.wait(0) and self._all_have_ended():
                return

    def _look_for_a_notice(self, nodes: Sequence[str]) -> None:
        """Tells the server, once, that Ray has been told that one of these nodes will be taken away."""
        if self._leaving or time.monotonic() < self._notice_at:
            return
        self._notice_at = time.monotonic() + LOOK_EVERY_S
        try:
            self._notices = self._notices or Notices()
            leaving = self._notices.leaving(nodes)
        except Exception:  # another version of Ray, or a head that is away: no notice can be had just now
            return
        if leaving:
            self._leave(leaving)

    def _leave(self, leaving: str) -> None:
        self._leaving = leaving
        self._say(**self._told)

    def _where(self, ray: Any, holders: List[Any]) -> Optional[List[Dict[str, Any]]]:
        """Where each holder stands; None where one is gone before anything was begun: the run is the engine's to end."""
        try:
            found: List[Dict[str, Any]] = ray.get([holder.where.remote() for holder in holders])
            return found
        except ray.exceptions.RayError as fault:
            sys.stderr.write("A node was lost before the run began on it: {}\n".format(fault))
            self._say(taken_back=False, failed=str(fault))
            return None

    def _has_ended(self, ray: Any, answer: Any, place: int, node: str) -> bool:
        """Whether a node's task is over, or its node lost; False where it could only not be reached."""
        try:
            self._hear_end(place, ray.get(answer))
            return True
        except ray.exceptions.RayError as fault:
            is_there = all(each["Alive"] for each in ray.nodes() if each["NodeID"] == node)
            words = str(fault)
            if is_there and isinstance(fault, ray.exceptions.ActorUnavailableError):
                self.is_stopped.wait(_LOOK_EVERY_S)
                return False
            if not is_there or "node has died" in words or "node died" in words.lower():
                cause = PREEMPTED if self._leaving or getattr(fault, "preempted", False) else NODE_LOST
                self._lose(place, cause, "its node {} died".format(node[:8]))
            elif "OOM" in words or "memory" in words.lower():
                self._lose(place, OUT_OF_MEMORY, "Ray ended it because the node ran out of memory")
            else:
                self._lose(place, TAKEN_AWAY, "its process of Ray's ended: {}".format(words.strip().splitlines()[-1]))
        return True

    def _lose(self, place: int, cause: str, message: str) -> None:
        self._lost[str(place)] = {"cause": cause, "message": message}
        self._say(**self._told)

    def _say(self, **told: Any) -> None:
        """What the server is to know; written when it has changed."""
        told = dict(told, lost=self._lost) if self._lost else told
        told = dict(told, leaving=self._leaving) if self._leaving else told
        if told != self._told or self._lost:
            self._told = told
            self._write(told)


class GangInFolder(Gang):
    """One whose nodes and head see the server's folder."""

    def __init__(self, folder: str, name: str, told: Dict[str, Any]) -> None:
        self._directories: List[str] = told["directories"]
        super().__init__(len(self._directories), told["bundle"])
        self._state_path = os.path.join(folder, name + ".state")
        self._mark_path = os.path.join(folder, name + ".job")
        self._sdk_path: str = told["sdk_path"]
        self._salvage = str(told["salvage"])

    def run_alone(self) -> int:
        """The one node is this one."""
        if not self._may_begin():
            return 0
        self._say(begun=True)
        gpus = [index for index in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if index]
        notice = OwnNotice(self._leave)
        code = hold(self._directories[0], self._sdk_path, [], gpus if "GPU" in self._bundle else [])
        notice.close()
        return code if code >= 0 else 128 - code

    def _may_begin(self) -> bool:
        return take(self._mark_path, "driver")

    def _is_taken_back(self) -> bool:
        return self.is_stopped.is_set() or os.path.exists(self._mark_path)

    def _write(self, told: Dict[str, Any]) -> None:
        write_json(self._state_path, told)

    def _all_have_ended(self) -> bool:
        ends = [read_json(os.path.join(directory, EXIT_FILE)) for directory in self._directories]
        return all(end is not None and str(end.get("salvage")) == self._salvage for end in ends)

    def _prepare(self, ray: Any) -> None:
        """As usual: this module is the program that runs, which Ray brings to the nodes."""

    def _hear_end(self, place: int, code: int) -> None:
        """It stands in the node's directory."""

    def _made_with(self) -> List[str]:
        return [self._sdk_path]

    def _task_of(self, place: int) -> List[str]:
        return [self._directories[place], self._sdk_path]


def take(mark: str, word: str) -> bool:
    """Makes a file that only one can make; whether it was this one."""
    try:
        descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write(word)
    return True


def described(bundle: Dict[str, float]) -> str:
    """What is asked of each node, for people: "2 CPUs and 1 GPU"."""
    words = []
    for name, amount in bundle.items():
        if name == "memory":
            words.append("{:g} MB".format(amount / 1e6))
        else:
            words.append("{:g} {}{}".format(amount, name, "s" if amount != 1 and name in ("CPU", "GPU") else ""))
    return " and ".join(words)


def main() -> int:
    folder, name = sys.argv[1:3]
    told = read_json(os.path.join(folder, name + ".json"))
    if told is None:
        sys.stderr.write("{} does not see the server's folder {}.\n".format(socket.gethostname(), folder))
        return NO_TASKS
    gang = GangInFolder(folder, name, told)
    if len(told["directories"]) == 1:
        signal.signal(signal.SIGTERM, lambda *_: None)  # Ray sends it to each process: the task ends its job by itself
        return gang.run_alone()
    return drive(gang)


def drive(gang: Gang) -> int:
    """Brings a gang to its end, as this process; the exit code."""
    try:
        import ray
    except ImportError as fault:
        message = "{}: {} is not the Python of the Ray cluster: name it, python=... of the compute target.\n"
        sys.stderr.write(message.format(fault, sys.executable))
        return NO_RAY

    def stop(*_: Any) -> None:
        if not gang.is_stopped.is_set():
            gang.is_stopped.set()
            threading.Timer(_LAST_S, os._exit, [128 + signal.SIGTERM]).start()

    signal.signal(signal.SIGTERM, stop)
    ray.init(log_to_driver=False, logging_level="warning", configure_logging=False)
    signal.signal(signal.SIGTERM, stop)  # ray.init has put its own in its place
    code = gang.run()
    ray.shutdown()
    return code


if __name__ == "__main__":
    sys.exit(main())
