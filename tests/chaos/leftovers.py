"""What is left of runs: processes, ports, locks, and files that are neither records nor anybody's property."""

import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from runyard.job import processes

# What may lie in a home for good. Everything else was left behind.
_KEPT = [
    r"server-python\.json",
    r"spool",
    r"cache(/digests(/[0-9a-f]+\.json)?)?",
    r"environments",
    r"environments/bytecode(/[0-9a-f]{64}(/.*)?)?",
    r"environments/locks(/[0-9a-f]{40}\.lock)?",
    r"environments/[0-9a-f]{40}(/ready\.json|/requirements\.txt|/used|/\d+(/venv(/.*)?|/files\.txt)?)?",
    r"sdk(/[0-9a-f]{16}(/.*)?)?",
    r"workspaces",
    r"workspaces/[^/]+",
]
_KEPT_OF_A_WORKSPACE = [
    r"(workspace|version)\.json",
    r"secrets\.json",
    r"records\.db(-wal|-shm)?",
    r"records\.\d{4}\.db",  # a copy from before a migration
    r"version\.json",
    r"(server|start)\.lock",
    r"server\.log",
    r"port",
    r"datastores(/[^/]+(/.*)?)?",
    r"objects(/incoming|/[0-9a-f]{2}(/[0-9a-f]{62})?)?",
    r"logs",
    r"runs",
]
_KEPT_WHILE_SERVED = [r"server\.json", r"objects/incoming/[0-9a-f]{32}"]
_LISTENS = "0A"


def processes_of(home: Path) -> dict[int, str]:
    """Pid and command of every live process whose command, variables or working directory name the home."""
    found = {}
    for pid, process in processes.all_processes().items():
        if pid != os.getpid() and process.is_alive and _names(pid, home):
            found[pid] = " ".join(processes.command_of(pid))
    return found


def _names(pid: int, home: Path) -> bool:
    wanted = os.fsencode(str(home))
    try:
        if os.fsencode(os.readlink(f"/proc/{pid}/cwd")).startswith(wanted):
            return True
        return any(wanted in Path(f"/proc/{pid}/{file}").read_bytes() for file in ("environ", "cmdline"))
    except OSError:  # it has ended meanwhile
        return False


def standing_by(server_pid: int | None) -> set[int]:
    """The server's own processes that wait for a job."""
    if server_pid is None:
        return set()
    return {
        pid
        for pid, process in processes.all_processes().items()
        if process.parent == server_pid and "--standby" in processes.command_of(pid) and _stands(pid)
    }


def _stands(pid: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") == "/"  # it goes to its job's directory once it has one
    except OSError:
        return False


def listening_ports(pids: set[int]) -> set[int]:
    """TCP ports of this machine at which one of the processes listens."""
    sockets = set()
    for pid in pids:
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{descriptor}"))
                if found:
                    sockets.add(found.group(1))
        except OSError:
            continue
    ports = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", table).read_text().splitlines()[1:]
        except OSError:  # no IPv6 here
            continue
        for line in lines:
            words = line.split()
            if words[3] == _LISTENS and words[9] in sockets:
                ports.add(int(words[1].rpartition(":")[2], 16))
    return ports


def held_locks(home: Path) -> Iterator[Path]:
    """Lock files that some process holds."""
    for place, folders, names in os.walk(home):  # which bears that a folder is removed meanwhile
        folders[:] = sorted(set(folders) - {"venv"})
        for path in (Path(place, name) for name in sorted(names) if name.endswith("lock")):
            try:
                with open(path) as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except FileNotFoundError:
                continue
            except OSError:
                yield path


def temporary_files(folder: Path) -> Iterator[Path]:
    """What lies in the system's folder for temporary files, which is this yard's own: all of it was left behind."""
    return (path.relative_to(folder) for path in sorted(folder.rglob("*")))


def stray_files(home: Path, is_served: bool) -> Iterator[Path]:
    """Files and folders, relative to the home, that should not be there once every run has ended."""
    of_workspaces = [*_KEPT_OF_A_WORKSPACE, *(_KEPT_WHILE_SERVED if is_served else [])]
    kept = re.compile("|".join([*_KEPT, rf"workspaces/[^/]+/({'|'.join(of_workspaces)})"]))
    for place, folders, names in os.walk(home):
        for name in (*folders, *names):
            path = Path(place, name).relative_to(home)
            if not kept.fullmatch(str(path)):
                yield path
            elif len(path.parts) == 3 and path.parts[0] == "environments" and name.isdigit():
                if not Path(place, name, "files.txt").exists():
                    yield path  # a build that nobody finished
