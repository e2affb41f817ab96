"""The stacks of this node's ranks, taken while they run: by py-spy, which needs nothing of the script."""

import os
import shutil
import subprocess
import sys
import time
from typing import List, Optional, Sequence

from runyard.distributed.topology import ranks_of_node
from runyard.job.processes import all_processes, command_of, marker_of, processes_of, variable_in
from runyard.job.script import bin_folder
from runyard.protocol.jobs import JobAssignment, RankReport
from runyard.stacks import file_name, last_line

MOST_PROCESSES = 64  # of one rank: loaders of data, and theirs
_PATIENCE_S = 15.0
_YAMA = "/proc/sys/kernel/yama/ptrace_scope"


def take(assignment: JobAssignment, reports: Sequence[RankReport], folder: str) -> None:
    """Writes one file per rank of this node below ``folder``; where a stack cannot be had it says why, and the cure.

    Raises:
        OSError: the disk refuses.
    """
    known = {report.rank: report for report in reports}
    program = py_spy(assignment)
    os.makedirs(folder, exist_ok=True)
    for rank in ranks_of_node(assignment):
        text = "Rank {}, node {}, {}\n\n{}\n".format(
            rank.label,
            assignment.node,
            time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            _stack(known.get(rank.number), program, _in_container(assignment, rank.number)).rstrip("\n"),
        )
        # Written beside the logs and moved in: what is shipped is whole.
        beside = os.path.join(assignment.directory, file_name(rank.label))
        with open(beside, "w", encoding="utf-8", errors="replace") as file:
            file.write(text + last_line(rank.label))
        os.replace(beside, os.path.join(folder, file_name(rank.label)))


def py_spy(assignment: JobAssignment) -> Optional[str]:
    """The program: the server's own, else that of the run's environment, else any; None where there is none."""
    folders = [os.path.dirname(sys.executable), bin_folder(assignment)]
    return shutil.which("py-spy", path=os.pathsep.join(folders + [os.environ.get("PATH", os.defpath)]))


def _in_container(assignment: JobAssignment, rank: int) -> List[int]:
    """A rank's processes that do not descend from what the job has started: those in its container."""
    if assignment.container is None:
        return []
    marker = marker_of(assignment.run_id, assignment.attempt, assignment.node)
    return [pid for pid in processes_of(marker) if variable_in(pid, "RUNYARD_RUN_RANK") == str(rank)]


def _stack(report: Optional[RankReport], program: Optional[str], more: Sequence[int] = ()) -> str:
    if report is None:
        return "It was not started yet."
    if report.ended_at is not None:
        how = report.signal or "exit code {}".format(report.exit_code)
        return "It has ended ({}).".format(how)
    if program is None:
        return (
            "There is no py-spy to take its stack. Install it beside the server (pip install py-spy), or add the pip "
            "package 'py-spy' to the run's environment."
        )
    pids = _pythons([report.pid, *more])
    if not pids:
        return "No Python runs under process {} ({}).".format(report.pid, " ".join(command_of(report.pid))[:200])
    return "\n\n".join(_dump(program, pid) for pid in pids)


def _pythons(pids: List[int]) -> List[int]:
    """Those of a rank's processes that run Python: its own, and what it has started."""
    table = all_processes()
    if not table:  # a system that does not show its processes
        return pids
    found = list(pids)
    for known in found:
        begun = sorted(process.pid for process in table.values() if process.parent == known and process.is_alive)
        found += [pid for pid in begun if pid not in found]
    return [each for each in found[:MOST_PROCESSES] if _is_python(each)]


def _is_python(pid: int) -> bool:
    try:
        return os.path.basename(os.readlink("/proc/{}/exe".format(pid))).startswith(("python", "pypy"))
    except OSError:  # it has ended meanwhile
        return False


def _dump(program: str, pid: int) -> str:
    try:
        done = subprocess.run(
            [program, "dump", "--pid", str(pid)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return "Process {}: py-spy gave no answer within {:.0f} s.".format(pid, _PATIENCE_S)
    except OSError as fault:
        return "Process {}: {} cannot be started: {}.".format(pid, program, fault.strerror)
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace").strip()
    said = done.stderr.decode("utf-8", "replace").partition("\n\n")[0].strip()  # below that is a trace of its own
    return "Process {}: py-spy could not look at it: {}{}".format(pid, said, _cure(said))


def _cure(said: str) -> str:
    """What to do where the kernel forbids one process to look at another."""
    if "ermission" not in said and "EPERM" not in said:
        return ""
    try:
        with open(_YAMA) as file:
            scope = file.read().strip()
    except OSError:
        scope = "0"
    if scope != "0":
        return (
            "\nThis kernel lets no process look at another that it has not started (kernel.yama.ptrace_scope is {}). "
            "`sysctl kernel.yama.ptrace_scope=0` allows it, or run the server as root.".format(scope)
        )
    return "\nIn a container, allow it with --cap-add SYS_PTRACE."
