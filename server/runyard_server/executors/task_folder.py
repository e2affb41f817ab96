"""What a server and the task on a node (``runyard.job.task``) leave for each other in the node's directory, seen by both.

A node that does not see that directory comes for its task over HTTP; the server then reads and writes there for it.

For executors that hand runs to an engine: what each node's job is to be, that it is to end, and how it has ended. An
engine's own files of an attempt lie one folder above, where those of its salvages have names of their own.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runyard.errors import TicketUsedError
from runyard.home import read_json, write_json
from runyard.job import bootstrap, task
from runyard.job.processes import MARKER, marker_of
from runyard.protocol.codec import to_json
from runyard.protocol.jobs import DriverState, NodeArrival, NodeEnd
from runyard_server.executors.base import (
    JobHandle,
    JobObservation,
    JobPlan,
    JobRequest,
    JobState,
    NodePlan,
    StartFailedError,
)

# Exit codes of a node that came for its job in vain, and could not tell why by itself. ``{who}``: NODE, or what else came.
BOOTSTRAPS_OWN = {
    bootstrap.NOT_REACHED: "{who} does not reach this server at {url}. Start the server with --public-url and an "
    "address that nodes reach",
    bootstrap.REFUSED: "this server refused the ticket of {who}: it has expired, or the attempt is over",
    bootstrap.USED: "another one had come for the same job",
    bootstrap.TOO_OLD: "the Python of {who} is older than 3.7. Name another one: python=... of the compute target",
}
NODE = "its node"
NODES_OWN = "node"  # who has an attempt of an engine that gives its steps no names
DRIVER = "driver"  # beside the nodes' directories that of a gang's driver which does not see them
_TAIL_BYTES = 2000


def node_plans(request: JobRequest, python: str) -> list[NodePlan]:
    """What is to be started on each node.

    Args:
        python: the program there that runs the job.
    """
    plans = []
    for given in request.assignments:
        env = {MARKER: marker_of(request.run_id, request.attempt, given.node), "PYTHONPATH": given.sdk_path}
        argv = list(request.argv or [task.THIS_PYTHON if request.invitations else python, "-S", "-m", "runyard.job"])
        plans.append(NodePlan(given.directory, argv, env, given, list(given.gpus)))
    return plans


def job_name(plan: JobPlan) -> str:
    """The attempt's name for an engine."""
    own = plan.nodes[0].assignment
    salvage = f".salvage-{own.node}-{own.salvage}" if own.salvage else ""
    return f"{own.run_id}.{own.attempt}{salvage}"


def base_name(engine: str, node: int, salvage: int) -> str:
    """What the names of an engine's own files of an attempt, or of a salvage of one of its nodes, begin with."""
    return engine if not salvage else f"{engine}-salvage-{node}-{salvage}"


def base_of(engine: str, plan: JobPlan) -> Path:
    """The same, as a path without an ending."""
    own = plan.nodes[0].assignment
    return Path(plan.nodes[0].directory).with_name(base_name(engine, own.node, own.salvage))


def handles(executor: str, plan: JobPlan, job_id: Callable[[int, int], object]) -> list[JobHandle]:
    """One handle for each node.

    Args:
        job_id: the executor's own word for a node, by its place in the plan and its salvage.
    """
    return [
        JobHandle(
            executor,
            plan.run_id,
            plan.attempt,
            node.assignment.node,
            node.directory,
            str(job_id(place, node.assignment.salvage)),
        )
        for place, node in enumerate(plan.nodes)
    ]


@contextmanager
def refused_by_the_disk(run_id: str) -> Iterator[None]:
    """Raises StartFailedError instead of OSError."""
    try:
        yield
    except OSError as error:
        raise StartFailedError(
            f"Run {run_id} could not be started: {error}. Look at the folder's permissions and the free space of its disk."
        ) from error


def lay_out(nodes: Iterable[NodePlan], cleared: Sequence[str] = (), job_file: Path | None = None) -> None:
    """Writes what each node's task reads, and clears away what an earlier job of the same directory has left.

    Args:
        cleared: names of an engine's own such files.
        job_file: where the engine's job is to be noted that has the attempt, for nodes that cannot do it themselves.
    Raises:
        OSError: the disk refuses.
    """
    for node in nodes:
        directory = Path(node.directory)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        for name in (task.EXIT_FILE, task.END_FILE, task.KILL_FILE, *cleared):
            (directory / name).unlink(missing_ok=True)
        told: dict[str, Any] = {"argv": node.argv, "env": node.env, "assignment": to_json(node.assignment)}
        if job_file is not None:
            told["job_file"] = job_file.name
        write_json(str(directory / task.TASK_FILE), told, private=True)


def come_for(directory: Path, arrival: NodeArrival) -> dict[str, Any]:
    """The task of a node that came for it.

    Raises:
        TicketUsedError: another one has come for it, or there is none any more.
    """
    told = read_json(str(directory / task.TASK_FILE))
    if told is None:
        raise TicketUsedError(f"Node {arrival.host} came for a job that is not there any more: its attempt is over.")
    job, job_file = arrival.step.split(".")[0] or NODES_OWN, directory.with_name(told.pop("job_file"))
    is_other_job = not _write_once(job_file, job) and job_file.read_text() != job
    mine = {"host": arrival.host, "pid": arrival.pid, "step": arrival.step, "claim": arrival.claim}
    where = directory / task.WHERE_FILE
    if is_other_job or (not _write_once(where, json.dumps(mine)) and _claim_of(where) != arrival.claim):
        raise TicketUsedError(f"Node {arrival.host} came for a job that another one has come for already.")
    return dict(told)


def lay_out_driver(base: Path, told: dict[str, Any]) -> None:
    """Writes what a gang's driver is given when it comes for it.

    Args:
        base: path of the engine's own files of the attempt, without an ending.
    Raises:
        OSError: the disk refuses.
    """
    directory = base.with_name(DRIVER)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / task.WHERE_FILE).unlink(missing_ok=True)
    write_json(str(directory / task.TASK_FILE), {**told, "base": base.name}, private=True)


def come_to_drive(directory: Path, arrival: NodeArrival) -> dict[str, Any]:
    """What a gang's driver is to do that came for it.

    Raises:
        TicketUsedError: another one has come for it, or the attempt is over or was taken back.
    """
    told = read_json(str(directory / task.TASK_FILE))
    if told is None or read(directory.with_name(told["base"] + ".job")) not in ("", NODES_OWN):
        raise TicketUsedError("A driver came for a gang that is not there any more: its attempt is over.")
    where = directory / task.WHERE_FILE
    mine = {"host": arrival.host, "pid": arrival.pid, "claim": arrival.claim}
    if not _write_once(where, json.dumps(mine)) and _claim_of(where) != arrival.claim:
        raise TicketUsedError("A driver came for a gang that another one has come for already.")
    return {"gang": told["gang"]}


def write_driver_state(directory: Path, said: DriverState) -> bool:
    """Notes what a driver says, as it would itself; whether it goes on: nobody has taken the attempt back.

    Args:
        directory: of a gang's driver, or of the one node that has no other driver.
    """
    told = read_json(str(directory / task.TASK_FILE)) or {}
    name = told["base"] + ".job" if "base" in told else told.get("job_file")
    if name is None:
        return False  # all is cleared away, or nobody is asked to say anything here
    job_file = directory.with_name(name)
    if said.begun:
        goes_on = _write_once(job_file, NODES_OWN) or read(job_file) == NODES_OWN
    else:
        goes_on = read(job_file) in ("", NODES_OWN)
    if goes_on:
        state = {name: value for name, value in to_json(said).items() if value}
        write_json(str(job_file.with_suffix(".state")), state)
    return goes_on


def _write_once(path: Path, text: str) -> bool:
    """Whether the file is made now: whole, and by nobody else."""
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    unfinished.write_text(text)
    try:
        path.hardlink_to(unfinished)
        return True
    except FileExistsError:
        return False
    finally:
        unfinished.unlink()


def _claim_of(where: Path) -> str:
    return str((read_json(str(where)) or {}).get("claim"))


def wanted_end(directory: Path) -> str:
    """What is wanted of the run's own job there: ``task.END_FILE``, ``task.KILL_FILE``, or nothing else ("")."""
    return next((name for name in (task.KILL_FILE, task.END_FILE) if read(directory / name) == "0"), "")


def server_url(handle: JobHandle) -> str:
    """Where the job was told that the server is."""
    told = read_json(str(Path(handle.directory, task.TASK_FILE)))
    return str(told["assignment"]["server_url"]) if told else "its address"


def write_end(directory: Path, end: NodeEnd) -> None:
    """Notes how the run's own job has ended, as its task on the node would; nothing where all is cleared away."""
    if directory.is_dir():
        (directory / task.LOG_FILE).write_text(end.tail)
        said = {"exit_code": end.exit_code, "signal": end.signal, "message": end.message, "began": end.began}
        write_json(str(directory / task.EXIT_FILE), {**said, "salvage": 0})


def ask_to_end(handle: JobHandle, salvage: int, firmly: bool) -> None:
    """Tells the task of a node to end its job; nothing where the directory is cleared away."""
    directory = Path(handle.directory)
    if directory.is_dir():
        (directory / (task.KILL_FILE if firmly else task.END_FILE)).write_text(str(salvage))


def read_end(handle: JobHandle, salvage: int) -> dict[str, Any] | None:
    """How the job's task says that it ended; None if it has not, or another job of this directory has."""
    end = read_json(str(Path(handle.directory, task.EXIT_FILE)))
    if end is None or end.get("salvage") != salvage:
        return None  # without a salvage it is the word of the job itself, whose task has not ended yet
    return end


def ended(handle: JobHandle, end: dict[str, Any], tail: Callable[[], str]) -> JobObservation:
    """The end that the task on the node, or an earlier look, has written down.

    Args:
        tail: gives the end of the job's log, for the message of one that did not end well.
    """
    code, name = end.get("exit_code"), end.get("signal")
    if not end.get("began", True):
        return JobObservation(JobState.ENDED, code, name, str(end.get("message")), began=False)
    if code is None and name is None:
        return JobObservation(JobState.LOST, message=str(end.get("message") or ""))
    if code == 0:
        return JobObservation(JobState.ENDED, exit_code=0)
    how = f"was ended by {name}" if name else f"ended with exit code {code}"
    said = end.get("message") or f"The job process of node {handle.node} {how}."
    return JobObservation(JobState.ENDED, code, name, f"{said}{tail()}")


def tail_of(files: Iterable[Path], noise: str | None = None) -> str:
    """The end of the first of these logs that says anything, for a message: the cause is nowhere else.

    Args:
        noise: lines with it say nothing.
    """
    for path in files:
        lines = read(path, _TAIL_BYTES).splitlines()
        text = "\n".join(line for line in lines if noise is None or noise not in line)
        if text:
            return f" The end of its {path.name}:\n{text}"
    return ""


def read(path: Path, last_bytes: int = 0) -> str:
    """What a file holds, or its end; "" where there is none."""
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    return data[-last_bytes:].decode("utf-8", "replace").strip()
