"""Which processes belong to a job, and how they are ended.

A job is recognised in three ways: it leads its own session, its processes descend from it, and all
of them carry the variable ``RUNYARD_JOB`` (``<run id>/<attempt>/<node>``), which a process that
made itself a daemon still has. Where there is no ``/proc`` only the process itself is known.
"""

import os
import signal
import time
from typing import Dict, Iterable, List, NamedTuple, Optional, Set

MARKER = "RUNYARD_JOB"

_PROC = "/proc"
_ROUND_S = 0.005
_PR_SET_CHILD_SUBREAPER = 36  # the kernel's number, from linux/prctl.h


class Process(NamedTuple):
    """A line of the process table. ``start_ticks`` is the kernel's start time, in ticks since its boot."""

    pid: int
    parent: int
    session: int
    state: str  # the kernel's letter: R, S, D, T, t, Z, X, I
    start_ticks: int

    @property
    def is_alive(self) -> bool:
        """False for one that has ended and only waits for its parent to notice (a zombie)."""
        return self.state not in ("Z", "X", "x")


def marker_of(run_id: str, attempt: int, node: int) -> str:
    """The value of ``RUNYARD_JOB`` in every process of that job."""
    return "{}/{}/{}".format(run_id, attempt, node)


def has_process_table() -> bool:
    """Whether this system shows its processes under ``/proc``."""
    return os.path.exists(os.path.join(_PROC, "self", "stat"))


def machine_name() -> str:
    """Names the boot and the process namespace in which a pid of this process means something.

    It holds no ``/``. Where the system does not tell, it is the host's name.
    """
    try:
        with open(os.path.join(_PROC, "sys/kernel/random/boot_id")) as file:
            boot = file.read().strip()
        namespace = os.stat(os.path.join(_PROC, "self/ns/pid")).st_ino
    except OSError:
        return os.uname().nodename
    return "{}-{}".format(boot, namespace)


def look_up(pid: int) -> Optional[Process]:
    """The process ``pid`` as the kernel shows it, None if there is none (or no ``/proc``)."""
    try:
        with open(os.path.join(_PROC, str(pid), "stat"), "rb") as file:
            line = file.read()
    except OSError:
        return None
    # The name (second field) may hold anything, blanks and brackets too: count from its last bracket.
    rest = line[line.rfind(b")") + 2 :].split()
    if len(rest) < 20:
        return None
    return Process(pid, int(rest[1]), int(rest[3]), rest[0].decode("ascii", "replace"), int(rest[19]))


def start_ticks(pid: int) -> Optional[int]:
    """When ``pid`` started, in kernel ticks since boot: with the pid it names one process for good.

    None if there is no such process or no ``/proc``.
    """
    found = look_up(pid)
    return None if found is None else found.start_ticks


def is_alive(pid: int) -> bool:
    """Whether ``pid`` runs. Without ``/proc`` a zombie counts as alive."""
    if has_process_table():
        found = look_up(pid)
        return found is not None and found.is_alive
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def all_processes() -> Dict[int, Process]:
    """Every process of this machine that the kernel shows us, by pid; empty without ``/proc``."""
    found = {}
    for pid in pids():
        process = look_up(pid)
        if process is not None:
            found[pid] = process
    return found


def pids() -> List[int]:
    """Pids of the processes that the kernel shows us; empty without ``/proc``."""
    try:
        return [int(name) for name in os.listdir(_PROC) if name.isdigit()]
    except OSError:
        return []


def marker_in(pid: int) -> Optional[str]:
    """The job that ``pid`` was started for, None if for none or if we may not know."""
    return variable_in(pid, MARKER)


def variable_in(pid: int, name: str) -> Optional[str]:
    """A variable as ``pid`` was started with it, None if it has none of that name or if we may not know."""
    try:
        with open(os.path.join(_PROC, str(pid), "environ"), "rb") as file:
            environment = file.read()
    except OSError:
        return None
    start = (name + "=").encode("ascii")
    for entry in environment.split(b"\0"):
        if entry.startswith(start):
            return entry[len(start) :].decode("utf-8", "surrogateescape")
    return None


def command_of(pid: int) -> List[str]:
    """The command line of ``pid``; empty if there is no such process or we may not know."""
    try:
        with open(os.path.join(_PROC, str(pid), "cmdline"), "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []


def files_in(folder: str, pid: int) -> Set[str]:
    """Files of a folder that ``pid`` has open or mapped; empty if there is no such process or we may not know.

    Args:
        folder: as the kernel names it, without links.
    """
    found: Set[str] = set()
    process = os.path.join(_PROC, str(pid))
    beginning = os.fsencode(os.path.join(folder, ""))
    try:
        # What is open first: a file that becomes mapped and is closed meanwhile is not missed.
        for number in os.listdir(os.path.join(process, "fd")):
            try:
                found.add(os.readlink(os.path.join(process, "fd", number)))
            except FileNotFoundError:
                continue  # closed meanwhile
        with open(os.path.join(process, "maps"), "rb") as maps:
            found.update(os.fsdecode(line.split(None, 5)[-1].rstrip(b"\n")) for line in maps if beginning in line)
    except OSError:
        pass  # it has ended, or is not ours to look into
    return {path for path in found if os.path.dirname(path) == folder}


def processes_by_marker(markers: Iterable[str]) -> Dict[str, List[int]]:
    """For each of ``markers`` the pids that carry it, in one look over the machine."""
    found: Dict[str, List[int]] = {marker: [] for marker in markers}
    if not found:
        return found
    for pid in pids():
        marker = marker_in(pid)
        if marker in found:
            found[marker].append(pid)
    return found


def processes_of(marker: str, but: Iterable[int] = ()) -> List[int]:
    """Pids of the processes that carry ``marker`` in their environment, without those in ``but``."""
    left_out = set(but)
    return [pid for pid in processes_by_marker([marker])[marker] if pid not in left_out]


def members_of(marker: str, leader: Optional[int] = None, but: Iterable[int] = ()) -> List[int]:
    """Pids of all live processes of a job.

    Args:
        marker: what they carry in their environment.
        leader: pid of the job process, where it is known to be still that process (alive, or a
            zombie that nobody has reaped): its session and its descendants are added.
        but: pids to leave out.
    """
    found = set(processes_of(marker))
    table = all_processes()
    if leader is not None:
        found.add(leader)
        found.update(process.pid for process in table.values() if process.session == leader)
    grown = True
    while grown:
        children = {process.pid for process in table.values() if process.parent in found} - found
        children = {pid for pid in children if not _clears_up(pid)}
        grown = bool(children)
        found |= children
    found -= set(but)
    found.discard(os.getpid())
    return sorted(pid for pid in found if pid in table and table[pid].is_alive)


def _clears_up(pid: int) -> bool:
    """Whether it is what podman leaves beside a container, to remove that when its last process has ended.

    It ends by itself then. The processes of the container carry the job's marker.
    """
    command = command_of(pid)
    return bool(command) and (
        os.path.basename(command[0]) == "conmon" or ("container" in command and "cleanup" in command)
    )


def send(pid: int, number: int) -> bool:
    """Sends a signal; False if there is no such process or it is not ours to signal."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill_group(
    marker: str, leader: Optional[int] = None, but: Iterable[int] = (), patience_s: float = 2.0
) -> List[int]:
    """Ends every process of a job at once (SIGKILL), those too that are born meanwhile.

    Args:
        marker, leader, but: as ``members_of``.
        patience_s: seconds to go on looking for survivors.
    Returns:
        Pids that still live after that, for instance in an uninterruptible wait; usually none.
    """
    kept = list(but)
    if not has_process_table():
        if leader is not None:
            _kill_without_table(leader)
        return []
    deadline = time.monotonic() + patience_s
    while True:
        members = members_of(marker, leader, kept)
        if not members or time.monotonic() > deadline:
            return members
        for pid in members:
            send(pid, signal.SIGKILL)
        time.sleep(_ROUND_S)  # the kernel needs a moment to bury them


def _kill_without_table(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        send(leader, signal.SIGKILL)


def adopt_orphans() -> bool:
    """Makes this process the parent of every descendant that loses its own (Linux alone; whether it did).

    A daemon of a script's then still descends from the job, whatever it has done to its environment.
    """
    try:
        import ctypes

        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError):
        return False


def reap_orphans(but: Iterable[int] = ()) -> None:
    """Buries the dead among adopted processes; ``but`` are children that somebody else waits for."""
    awaited = set(but)
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except (ChildProcessError, AttributeError):
            return
        if ended is None or ended.si_pid in awaited:
            return  # whoever waits for that one buries it in a moment; the rest is for the next time
        try:
            os.waitpid(ended.si_pid, os.WNOHANG)
        except ChildProcessError:
            continue


def node_environment(run_id: str, attempt: int, node: int, gpus: Iterable[int]) -> Dict[str, str]:
    """The variables that make a process part of a job and show it its GPUs alone (none: hides all)."""
    return {
        MARKER: marker_of(run_id, attempt, node),
        # Indices are the driver's, by bus; CUDA by itself counts the fastest first.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": ",".join(str(index) for index in gpus),
    }


def take_place(directory: str, environment: Dict[str, str], log: str = "job.log") -> None:
    """What a process that stood by does first with its assignment.

    It goes to the job's ``directory``, takes on ``environment`` and sends its output (file
    descriptors 1 and 2) to the end of ``log`` there, as one that was started for the job does.
    """
    os.environ.update(environment)
    os.chdir(directory)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
    finally:
        os.close(output)
