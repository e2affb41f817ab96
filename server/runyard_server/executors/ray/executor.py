"""One Ray job for each attempt of a run: a driver of ours that asks for all its nodes and starts its job on each.

What a node's job is to be lies in its directory, which the server and the nodes both see (``runyard.job.task``), and
how it ended is written there too; what the driver has to say lies beside (``runyard.job.ray_gang``). Ray decides whether
a job goes on. Everything else that is needed to find a job again is in its handle, the cluster's token excepted: that
is kept apart.
"""

import hashlib
import json
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from runyard.errors import ComputeTargetException
from runyard.home import read_json, write_json
from runyard.job import bootstrap, ray_gang, task
from runyard.protocol.codec import to_json
from runyard.protocol.compute import ComputeSpec, RaySpec
from runyard.protocol.jobs import NodeInvitation
from runyard.protocol.status import Reason
from runyard_server.domain.vm_sizes import vm_size
from runyard_server.executors import task_folder
from runyard_server.executors.base import (
    Ability,
    EngineAwayError,
    Executor,
    Inventory,
    JobHandle,
    JobObservation,
    JobPlan,
    JobRequest,
    JobState,
    NodeCounts,
    StartFailedError,
)
from runyard_server.executors.look import Glance, Look, Lookout
from runyard_server.executors.ray import states
from runyard_server.executors.ray.api import Cluster, Job, Node, RayApi, clean_address
from runyard_server.executors.ray.tokens import Tokens

_COUNTS_FOR_S = 5.0  # how long counted nodes are good
_WORDS_FOR_S = 60.0  # how long they say for what a run waits
_LOST_AFTER_S = 10.0  # a job that Ray does not show is given so long to appear: it was submitted a moment ago
_HEAD = "the cluster's head (the gang's driver)"
_REMEMBERED = 4096
_TAIL_BYTES = 2000
_SOME_RESOURCE = 1e-9
_MB = 1_000_000


@dataclass(frozen=True)
class _JobId:
    """A handle's word: the cluster, Ray's id of the job, the node's place, and which salvage it is (0: the run's own)."""

    address: str
    submission: str
    place: int
    salvage: int

    @classmethod
    def of(cls, handle: JobHandle) -> "_JobId":
        address, submission, place, salvage = handle.job_id.rsplit("|", 3)
        return cls(address, submission, int(place), int(salvage))

    def __str__(self) -> str:
        return f"{self.address}|{self.submission}|{self.place}|{self.salvage}"


class RayExecutor(Executor):
    """Hands runs to Ray clusters.

    Args:
        tokens: the file that keeps the clusters' tokens.
        look_every_s: seconds between two looks at a cluster's jobs, at least.
        address: the cluster of a request that names none.
        last_word_s: what stands on a node whose driver, or holder, has gone ends by itself, and has so long to note it.
    """

    name = "ray"
    abilities = frozenset({Ability.MULTI_NODE, Ability.SHARED_FOLDER, Ability.QUEUES})

    def __init__(
        self,
        tokens: Path | None = None,
        look_every_s: float = 1.0,
        address: str = "",
        last_word_s: float = 5.0,
    ) -> None:
        self._tokens = Tokens(tokens)
        self._look_every_s = look_every_s
        self._address = address
        self._last_word_s = last_word_s
        self._lock = threading.Lock()
        self._clusters: dict[str, tuple[RayApi, Lookout[Job]]] = {}
        self._over: dict[JobHandle, JobObservation] = {}
        self._first_asked: dict[tuple[str, str], float] = {}  # by job: when it was first looked for
        self._first_silent: dict[JobHandle, float] = {}  # when a job was first seen to be over without a word
        self._shown: Glance[str, Cluster] = Glance(_COUNTS_FOR_S)

    @property
    def calls(self) -> int:
        """How often Ray has been asked so far."""
        with self._lock:
            return sum(api.calls for api, _ in self._clusters.values())

    # Compute targets

    def check(self, spec: ComputeSpec) -> ComputeSpec:
        super().check(spec)
        ray = _checked(spec.ray)
        token = self._tokens.of(ray.address) if ray.token is None else ray.token
        api = RayApi(ray.address, lambda: token)
        try:
            api.version()
            cluster = api.cluster()
        except EngineAwayError as away:
            raise ComputeTargetException(f"{away} Look at address and token of the cluster.") from away
        spec = replace(spec, ray=replace(ray, token=None))
        able = [node for node in cluster.nodes if _has(node.total, bundle(spec))]
        if not able and not cluster.scales:
            raise ComputeTargetException(_nobody_is_able(spec, cluster))
        if spec.max_nodes > len(able) and not cluster.scales:
            raise ComputeTargetException(
                f"max_nodes={spec.max_nodes} is more than this cluster has nodes with "
                f"{ray_gang.described(bundle(spec))}: {len(able)}, and no autoscaler adds any."
            )
        if not spec.max_nodes and not able:
            raise ComputeTargetException(
                "This cluster's autoscaler brings nodes as they are needed: say max_nodes=...."
            )
        self._tokens.keep(ray.address, token)
        return replace(spec, max_nodes=spec.max_nodes or len(able))

    def count_nodes(self, spec: ComputeSpec) -> NodeCounts:
        address = spec.ray.address if spec.ray is not None else self._address
        return _count(self._cluster_of(address), bundle(spec), spec.max_nodes)

    def _cluster_of(self, address: str) -> Cluster:
        """The cluster's nodes a moment ago."""
        return self._shown.of(address, lambda: self._api(address).cluster())

    def most_gpus(self, spec: ComputeSpec, waits: bool = True) -> int | None:
        address = spec.ray.address if spec.ray is not None else self._address
        cluster = self._cluster_of(address) if waits else self._last_seen(address)
        if cluster is None or cluster.scales:
            return None  # an autoscaler may bring nodes of other kinds
        return max((int(node.total.get("GPU", 0)) for node in cluster.nodes), default=None)

    def inventory(self) -> Inventory:
        if not self._address:
            return Inventory()  # each target is a cluster of its own
        nodes = self._api(self._address).cluster().nodes
        return Inventory(nodes=len(nodes), cpus=int(sum(node.total.get("CPU", 0) for node in nodes)))

    # Starting

    def plan(self, request: JobRequest) -> JobPlan:
        plan = JobPlan(request.run_id, request.attempt, task_folder.node_plans(request, task.THIS_PYTHON))
        base = task_folder.base_of(self.name, plan)
        target = request.target or ComputeSpec(name="ray")
        ray = target.ray or RaySpec(self._address)
        driver = [ray.python, "-m", "runyard.job.ray_gang", str(base.parent), base.name]
        each = bundle(target, request.gpus_per_node)
        entrypoint = f"cd / && PYTHONPATH={shlex.quote(request.assignments[0].sdk_path)} exec {shlex.join(driver)}"
        if request.driver_invitation is not None:
            entrypoint = _entrypoint_away(ray.python, request.driver_invitation)
        elif request.invitations:
            entrypoint = _entrypoint_away(ray.python, request.invitations[0], hides_gpus="GPU" not in each)
        submission: dict[str, Any] = {
            "submission_id": _submission_id(plan),
            "entrypoint": entrypoint,
            "metadata": {"runyard_attempt": str(base.parent)},
        }
        # Of one node Ray itself puts the driver where the room is; no other process waits for that meanwhile.
        if len(plan.nodes) == 1:
            submission.update(_entrypoint_asks(each))
        asked = {"cluster": ray.address, "bundle_of_each_node": each, "submission": submission}
        if request.driver_invitation is not None:
            asked["nodes"] = [_input(invitation) for invitation in request.invitations]
        script = json.dumps(asked, indent=2, ensure_ascii=False) + "\n"
        return replace(plan, script=script)

    def start(self, plan: JobPlan) -> list[JobHandle]:
        asked = json.loads(plan.script)
        address, submission = asked["cluster"], asked["submission"]
        api, lookout = self._cluster(address)
        trouble = lookout.trouble()
        if trouble is not None:
            lookout.latest()  # raises it, until Ray has answered again
        base = task_folder.base_of(self.name, plan)
        sent = base.with_name(base.name + ".sent")
        if not sent.exists():
            if not base.with_name(base.name + ".json").exists() or api.job(submission["submission_id"]) is None:
                self._lay_out(plan, asked)
                self._submit(api, submission)
            sent.touch()
            lookout.look_soon()
        return task_folder.handles(self.name, plan, partial(_JobId, address, submission["submission_id"]))

    def _submit(self, api: RayApi, submission: dict[str, Any]) -> None:
        """Submits a job once: Ray's answer to an id that it has already is an error like any other."""
        try:
            api.submit(submission)
        except StartFailedError:
            there = api.job(submission["submission_id"])
            if there is None or dict(there.metadata) != submission["metadata"]:
                raise

    def _lay_out(self, plan: JobPlan, asked: dict[str, Any]) -> None:
        """Writes what the nodes will read. Nothing is left of it where it does not work."""
        first = plan.nodes[0].assignment
        base = task_folder.base_of(self.name, plan)
        with task_folder.refused_by_the_disk(plan.run_id):
            task_folder.lay_out(plan.nodes, job_file=base.with_name(base.name + ".job"))
            gang = {
                "directories": [node.directory for node in plan.nodes],
                "bundle": asked["bundle_of_each_node"],
                "submission": asked["submission"],
                "sdk_path": first.sdk_path,
                "salvage": first.salvage,
            }
            if "nodes" in asked:
                driven = {"bundle": asked["bundle_of_each_node"], "nodes": asked["nodes"]}
                task_folder.lay_out_driver(base, {"gang": driven})
            write_json(str(base.with_name(base.name + ".json")), gang, private=True)  # it may hold a ticket

    # Observing

    def observe(self, handles: Iterable[JobHandle]) -> dict[JobHandle, JobObservation]:
        asked = list(handles)
        with self._lock:
            found = {handle: self._over[handle] for handle in asked if handle in self._over}
        by_cluster: dict[str, list[JobHandle]] = {}
        for handle in asked:
            if handle not in found:
                by_cluster.setdefault(_JobId.of(handle).address, []).append(handle)
        away: EngineAwayError | None = None
        for address, left in by_cluster.items():
            try:
                look = self._cluster(address)[1].latest()
                for handle in left:
                    observation = self._observe(handle, look)
                    found[handle] = observation
                    if observation.state.is_over:
                        self._remember(handle, observation)
            except EngineAwayError as fault:  # the jobs of other clusters are known
                away = fault
        if away is not None and not found:
            raise away
        return found

    def _observe(self, handle: JobHandle, look: Look[Job]) -> JobObservation:
        own = _JobId.of(handle)
        job = look.jobs.get(own.submission)
        end, told = task_folder.read_end(handle, own.salvage), _state(handle)
        leaving = str(told.get("leaving") or "")
        if end is not None:
            ended = task_folder.ended(handle, end, lambda: _tail(handle))
            return _made_room(own, ended, leaving) if leaving else ended
        if not told.get("begun") and _was_taken_back(handle):  # a driver takes the attempt before it says anything
            message = f"Ray's job {own.submission} was taken back before it began."
            return JobObservation(JobState.ENDED, None, "SIGKILL", message, began=False)
        lost = (told.get("lost") or {}).get(str(own.place))
        if lost is not None:
            return _lost(handle, lost)
        code = (told.get("ended") or {}).get(str(own.place))
        if code is not None:
            return self._left(handle, code)
        if not told and self._must_be_asked_again(handle, job):
            return JobObservation(JobState.PENDING, message=self._ask_again(handle))
        if job is None:
            return self._unknown(handle, own, look, told)
        meaning = states.job_meaning(job.status)
        if meaning.state is JobState.PENDING and not told.get("begun"):  # Ray may have been asked before it began
            waits = self._waits_alone(handle) if _node_count(handle) == 1 else meaning.words
            return JobObservation(JobState.PENDING, message=f"Ray's job {own.submission} {waits}")
        if not meaning.state.is_over:
            if told.get("begun"):
                if leaving:  # what its ranks have is to be saved while the node is there
                    task_folder.ask_to_end(handle, own.salvage, firmly=False)
                return JobObservation(JobState.RUNNING)
            waits = told.get("waiting") or "starts its driver"
            if told.get("here", 0) < told.get("asked", 0) and self._scales(own.address):
                waits = f"{states.SCALING}: it {waits}"
            return JobObservation(JobState.PENDING, message=f"Ray's job {own.submission} {waits}")
        if told.get("begun") and not self._is_silent(handle):
            return JobObservation(JobState.RUNNING)
        return _over(handle, job, meaning, told)

    def _waits_alone(self, handle: JobHandle) -> str:
        """What a job waits for that Ray itself puts on a node."""
        address, asked = _JobId.of(handle).address, (read_json(str(_base(handle, ".json"))) or {}).get("bundle") or {}
        node = f"a node with {ray_gang.described(asked)}"
        cluster = self._last_seen(address)
        if cluster is not None and cluster.scales and not any(_has(each.total, asked) for each in cluster.nodes):
            return f"{states.SCALING}: it waits for {node}, and none is here"
        return f"waits for {node} to have room"

    def _scales(self, address: str) -> bool:
        """Whether nodes that are not here may come, as far as the cluster tells."""
        cluster = self._last_seen(address)
        return cluster is not None and cluster.scales

    def _last_seen(self, address: str) -> Cluster | None:
        """The cluster's nodes as it told them last: nobody who only looks for words waits for what may never answer."""
        return self._shown.last(address, lambda: self._api(address).cluster(), _WORDS_FOR_S)

    def _must_be_asked_again(self, handle: JobHandle, job: Job | None) -> bool:
        """Whether Ray gave a job up that nobody has begun.

        It does so with one that waited for room for a quarter of an hour, which a queue is not, and with one whose
        node died that had been chosen for it. One that a server which then died had begun to submit again is among them.
        """
        if not _base(handle, ".json").exists():
            return False  # everything is stored, and the folder cleared away
        if job is None:
            return _base(handle, ".again").exists()
        if _base(handle, ".job").exists():
            return False  # somebody was about to begin it
        return job.error_type == "JOB_SUPERVISOR_ACTOR_START_TIMEOUT" or _lost_its_node(job)

    def _ask_again(self, handle: JobHandle) -> str:
        """Submits the same job anew; what is to be said of it. The mark stays while that has not worked."""
        own, mark = _JobId.of(handle), _base(handle, ".again")
        api, lookout = self._cluster(own.address)
        told = read_json(str(_base(handle, ".json"))) or {}
        mark.touch()
        api.forget(own.submission)
        try:
            self._submit(api, told["submission"])
        except StartFailedError as fault:
            return f"Ray's job {own.submission} is asked for again, which Ray refused now: {fault}"
        mark.unlink(missing_ok=True)
        lookout.look_soon()
        return f"Ray's job {own.submission} is asked for again"

    def _unknown(self, handle: JobHandle, own: _JobId, look: Look[Job], told: dict[str, Any]) -> JobObservation:
        """A job that Ray does not show: it was submitted a moment ago, or Ray has lost what it knew."""
        with self._lock:
            asked_at = self._first_asked.setdefault((own.address, own.submission), time.monotonic())
        if look.began_at <= asked_at + _LOST_AFTER_S:
            return JobObservation(JobState.RUNNING if told.get("begun") else JobState.PENDING)
        message = f"Ray does not know its job {own.submission} any more: its head was restarted, or the job deleted."
        return JobObservation(
            JobState.LOST, message=message + _tail(handle), cause=Reason.NODE_LOST, began=_began(told)
        )

    def _left(self, handle: JobHandle, code: int) -> JobObservation:
        """A node that has left by its driver's word, and has said nothing itself.

        ``code``: a job's own is 0, 1, 127 or a signal's, whatever its script's was.
        """
        if code in task_folder.BOOTSTRAPS_OWN:
            return _came_in_vain(handle, code, task_folder.NODE)
        if not self._is_silent(handle):
            return JobObservation(JobState.RUNNING)
        name = task.signal_name(-code if code < 0 else code - 128) if code < 0 or code > 128 else None
        how = f"was ended by {name}" if name else f"ended with exit code {code}"
        message = f"What Ray's job {_JobId.of(handle).submission} had started on node {handle.node} {how}."
        began = Path(handle.directory, task.WHERE_FILE).exists()
        return JobObservation(
            JobState.ENDED if name else JobState.LOST, None, name, message + _tail(handle), began=began
        )

    def _is_silent(self, handle: JobHandle) -> bool:
        """Whether a job that is over has had its time for a last word."""
        with self._lock:
            return time.monotonic() - self._first_silent.setdefault(handle, time.monotonic()) > self._last_word_s

    def _remember(self, handle: JobHandle, seen: JobObservation) -> None:
        own = _JobId.of(handle)
        with self._lock:
            while len(self._over) >= _REMEMBERED:
                del self._over[next(iter(self._over))]
            self._over[handle] = seen
            self._first_silent.pop(handle, None)
            self._first_asked.pop((own.address, own.submission), None)

    # Ending

    def cancel(self, handles: Sequence[JobHandle], firmly: bool) -> None:
        with self._lock:
            going = [handle for handle in handles if handle not in self._over]
        for handle in going:
            task_folder.ask_to_end(handle, _JobId.of(handle).salvage, firmly)
        jobs: dict[tuple[str, str], list[JobHandle]] = {}
        for handle in going:
            own = _JobId.of(handle)
            jobs.setdefault((own.address, own.submission), []).append(handle)
        for (address, submission), mine in jobs.items():
            api, lookout = self._cluster(address)
            # One node alone is ended by its task. Ray keeps a job that waits until it has room for it, and would stop it
            # then: it begins nothing any more, and is over for us now.
            if len(mine) >= _node_count(mine[0]) and (_is_taken_back(mine[0]) or firmly):
                api.stop(submission)
            lookout.look_soon()

    # Clusters

    def _api(self, address: str) -> RayApi:
        return self._cluster(address)[0]

    def _cluster(self, address: str) -> tuple[RayApi, Lookout[Job]]:
        if not address:
            raise StartFailedError(
                "The compute target names no Ray cluster. Attach one: RayCompute.attach_configuration."
            )
        with self._lock:
            if address not in self._clusters:
                api = RayApi(address, _token_of(self._tokens, address))
                looks = Lookout(api.jobs, self._look_every_s, engine=f"Ray at {address}")
                self._clusters[address] = (api, looks)
            return self._clusters[address]


def bundle(target: ComputeSpec, gpus_per_node: int | None = None) -> dict[str, float]:
    """What is asked of each node, by Ray's names of resources.

    Args:
        gpus_per_node: GPUs that a run asks for; None for all that a node of the target has.
    """
    ray, size = target.ray or RaySpec(""), vm_size(target.vm_size)
    cpus = ray.cpus_per_node or (size.cpus if size is not None else 1)
    gpus = (ray.gpus_per_node or (size.gpus if size is not None else 0)) if gpus_per_node is None else gpus_per_node
    asked: dict[str, float] = {"CPU": cpus}
    if gpus:
        asked["GPU"] = gpus
    if ray.memory_mb:
        asked["memory"] = ray.memory_mb * _MB
    return {**asked, **{name: amount for name, amount in ray.resources.items() if amount}}


def _checked(ray: RaySpec | None) -> RaySpec:
    if ray is None:
        raise ComputeTargetException(
            "Which Ray cluster? ComputeTarget.attach(workspace, name, RayCompute.attach_configuration(address=...))."
        )
    numbers = [("cpus_per_node", ray.cpus_per_node, 0), ("gpus_per_node", ray.gpus_per_node, 0)]
    numbers += [("memory_mb", ray.memory_mb, 0), ("max_jobs", ray.max_jobs, 1)]
    for name, number, least in numbers:
        if number < least:
            raise ComputeTargetException(f"{name} is {least} or more; this is {number}.")
    for name, amount in ray.resources.items():
        if amount < 0 or name in ("CPU", "GPU", "memory"):
            raise ComputeTargetException(
                f"resources are those of the cluster's own names, 0 or more of each; this is {name}={amount}. "
                "CPUs, GPUs and memory are cpus_per_node, gpus_per_node and memory_mb."
            )
    if not ray.python.strip() or "\n" in ray.python:
        raise ComputeTargetException(f"python is the command of the cluster's Python; this is {ray.python!r}.")
    return replace(ray, address=clean_address(ray.address))


def _token_of(tokens: Tokens, address: str) -> Callable[[], str]:
    return lambda: tokens.of(address)


def _entrypoint_asks(each: dict[str, float]) -> dict[str, Any]:
    """What a node is to have, as Ray is asked for the node of a driver."""
    own = dict(each)
    asked = {"entrypoint_num_cpus": own.pop("CPU", 0), "entrypoint_num_gpus": own.pop("GPU", 0)}
    return {**asked, "entrypoint_memory": int(own.pop("memory", 0)), "entrypoint_resources": own}


def _submission_id(plan: JobPlan) -> str:
    """The attempt's own id in the cluster. Two workspaces may have a run of one name: theirs are in other folders."""
    folder = Path(plan.nodes[0].directory).parent
    return f"{task_folder.job_name(plan)}.{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def _base(handle: JobHandle, ending: str) -> Path:
    """A file of the job's in its attempt's folder."""
    name = task_folder.base_name(RayExecutor.name, handle.node, _JobId.of(handle).salvage)
    return Path(handle.directory).with_name(name + ending)


def _was_taken_back(handle: JobHandle) -> bool:
    """Whether a server has ended it before its driver could begin."""
    try:
        return _base(handle, ".job").read_text() == ray_gang.TAKEN_BACK
    except FileNotFoundError:
        return False


def _is_taken_back(handle: JobHandle) -> bool:
    """Takes a job back that has not begun; whether it is."""
    if not _base(handle, ".json").exists():
        return False  # everything is stored, and the folder cleared away
    return ray_gang.take(str(_base(handle, ".job")), ray_gang.TAKEN_BACK) or _was_taken_back(handle)


def _state(handle: JobHandle) -> dict[str, Any]:
    """What the driver has said; nothing before it has begun. A node that comes for its job alone is its own driver."""
    told = read_json(str(_base(handle, ".state")))
    if told:
        return told
    come = read_json(str(Path(handle.directory, task.WHERE_FILE))) or {}
    return {"begun": True} if "claim" in come else {}


def _began(told: dict[str, Any]) -> bool:
    return bool(told.get("begun"))


def _node_count(handle: JobHandle) -> int:
    told = read_json(str(_base(handle, ".json")))
    return len(told["directories"]) if told else 1


def _lost(handle: JobHandle, lost: dict[str, str]) -> JobObservation:
    """A node that the driver has seen go."""
    message = f"Ray's job {_JobId.of(handle).submission} lost node {handle.node}: {lost['message']}.{_tail(handle)}"
    return JobObservation(JobState.LOST, message=message, cause=states.LOSSES.get(lost["cause"]))


def _made_room(own: _JobId, ended: JobObservation, leaving: str) -> JobObservation:
    """One that has ended when Ray was about to take a node of it away, however it did."""
    message = f"Ray's job {own.submission} was told to end: {leaving}"
    return replace(ended, message=message, cause=Reason.PREEMPTED)


def _over(handle: JobHandle, job: Job, meaning: states.Meaning, told: dict[str, Any]) -> JobObservation:
    """A job that is over and of which the node has said nothing."""
    own = _JobId.of(handle)
    words = states.JOB_ERRORS.get(job.error_type, meaning.words)
    said = told.get("failed") or (job.message if job.status == "FAILED" else "")
    message = f"Ray's job {own.submission} {words} ({job.error_type or job.status})."
    message += f" {said.strip()[-_TAIL_BYTES:]}" if said else ""
    if _began(told):
        if job.status == "STOPPED":
            return JobObservation(JobState.ENDED, None, "SIGKILL", message + _tail(handle))
        cause = _loss(job, told) if _lost_its_node(job) else None
        return JobObservation(JobState.LOST, message=message + _tail(handle), cause=cause)
    if job.status == "STOPPED" or told.get("taken_back"):
        return JobObservation(JobState.ENDED, None, "SIGKILL", message, began=False)
    code = job.exit_code if job.exit_code and job.exit_code > 0 else 1
    if code in task_folder.BOOTSTRAPS_OWN:
        return _came_in_vain(handle, code, task_folder.NODE if _node_count(handle) == 1 else _HEAD)
    return JobObservation(JobState.ENDED, code, None, message, began=False)


def _lost_its_node(job: Job) -> bool:
    return job.error_type == "JOB_SUPERVISOR_ACTOR_DIED" and "node" in job.message.lower()


def _loss(job: Job, told: dict[str, Any]) -> Reason:
    """Why a job's node is gone: Ray had been told that it would be taken away; or it just died."""
    is_known = "node was preempted" in job.message or told.get("leaving")
    return Reason.PREEMPTED if is_known else Reason.NODE_LOST


def _came_in_vain(handle: JobHandle, code: int, who: str) -> JobObservation:
    """A node that came for its job and did not get it, or the head that came to drive a gang."""
    words = task_folder.BOOTSTRAPS_OWN[code].format(url=task_folder.server_url(handle), who=who)
    message = f"Ray's job {_JobId.of(handle).submission} could not begin: {words}."
    return JobObservation(JobState.ENDED, code, None, message, began=False)


def _entrypoint_away(python: str, invitation: NodeInvitation, hides_gpus: bool = False) -> str:
    """What runs that does not see the server's folder: a node that comes for its job, or a gang's driver.

    Either asks Ray by itself, whose package is among those of that Python.
    """
    program = shlex.join([python, "-c", Path(bootstrap.__file__).read_text(encoding="utf-8")])
    return f"cd / && {'CUDA_VISIBLE_DEVICES= ' if hides_gpus else ''}exec {program} <<'END'\n{_input(invitation)}\nEND"


def _input(invitation: NodeInvitation) -> str:
    return json.dumps(to_json(replace(invitation, held=True)))


def _has(total: Any, asked: dict[str, float]) -> bool:
    return all(total.get(name, 0) >= amount for name, amount in asked.items())


def _count(cluster: Cluster, asked: dict[str, float], most: int) -> NodeCounts:
    """Nodes that are such as the target asks for; the head is none where it gives nothing.

    Where an autoscaler does not tell what it brings, it is what the waiting lack, as far as the target may have it.
    """
    able = [node for node in cluster.nodes if _has(node.total, asked)]
    running = [node for node in able if any(node.used.get(name, 0) > _SOME_RESOURCE for name in asked)]
    idle = len(able) - len(running)
    lacking = sum(_has(wanted, asked) for wanted in cluster.waiting) - idle
    preparing = cluster.preparing or max(0, min(lacking, most - len(able)))
    return NodeCounts(running=len(running), idle=idle, preparing=preparing)


def _nobody_is_able(spec: ComputeSpec, cluster: Cluster) -> str:
    shapes = sorted({_shape(node) for node in cluster.nodes})
    return (
        f"No node of this Ray cluster has {ray_gang.described(bundle(spec))}. Its nodes have: {'; '.join(shapes[:5])}. "
        "Choose another vm_size (or none), cpus_per_node, gpus_per_node, memory_mb or resources."
    )


def _shape(node: Node) -> str:
    own = {name: amount for name, amount in node.total.items() if not name.startswith(("node:", "object_store"))}
    return ray_gang.described(dict(sorted(own.items()))) or "nothing"


def _tail(handle: JobHandle) -> str:
    return task_folder.tail_of([Path(handle.directory, task.LOG_FILE)])
