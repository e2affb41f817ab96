"""A real Slurm on this machine for tests: a controller and a few nodes, alone in a network of their own.

The nodes are addresses of the loopback device of a network namespace, so the daemons listen where nobody else is.
The namespace has its own process table too: when its first process is killed, everything in it ends.
"""

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from runyard.job import processes

CONTROLLER = "ctl"
_DAEMONS = ("slurmctld", "slurmd", "munged")
_COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "unshare", "nsenter", "setpriv", "ip")
_PACKAGES = "slurm-wlm slurm-wlm-basic-plugins munge iproute2"
_FIRST_PORT = 17000
_CLONE_NEWNET = 0x40000000
_A_MOMENT = threading.Event()  # never set: daemons are outside, all that one can do is look again
_PATIENCE_S = 30.0

# Runs as the first process inside: names the machine and gives the loopback device its addresses; ends, with all
# that has come into its network since, when its input closes: with the test that holds it, however that ends.
_HOLDER = """
import os, signal, subprocess, sys
controller, hosts, *addresses = sys.argv[1:]
spared = (os.getpid(), os.getppid())  # a test may stand inside itself
def run(*argv):
    subprocess.run(argv, check=True)
run("ip", "link", "set", "lo", "up")
run("hostname", controller)
run("mount", "--bind", hosts, "/etc/hosts")
for address in addresses:
    run("ip", "addr", "add", address + "/32", "dev", "lo")
print("ready", flush=True)
sys.stdin.read()
own = os.stat("/proc/self/ns/net").st_ino
def others():
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat("/proc/" + name + "/ns/net").st_ino == own and int(name) not in spared:
                yield int(name)
        except OSError:
            pass
for _ in range(100):
    left = list(others())
    if not left:
        break
    for pid in left:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
"""

_CONFIGURATION = """\
ClusterName=runyard
SlurmctldHost={controller}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
PriorityType=priority/basic
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdTimeout={node_timeout_s}
SlurmctldTimeout=10
MessageTimeout=5
InactiveLimit=0
KillWait=2
MinJobAge={forgotten_after_s}
MaxJobCount=20000
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
GresTypes=gpu
{more}
{nodes}
PartitionName=main Nodes={all_nodes} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
PartitionName=short Nodes={first_node} MaxTime=1 State=UP
"""


@cache
def missing() -> str:
    """Why there can be no such cluster here; "" where there can."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    lacking = [name for name in (*_DAEMONS, *_COMMANDS) if shutil.which(name, path=path) is None]
    if lacking:
        return f"{', '.join(lacking)} not found: apt-get install {_PACKAGES}"
    if os.geteuid() != 0:
        return "a Slurm of our own needs root, for a network namespace"
    tried = subprocess.run(
        ["unshare", "-n", "-p", "-m", "-u", "-f", "--mount-proc", "true"], capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else f"no namespaces here: {tried.stderr.decode().strip()}"


class SlurmCluster:
    """Starts at construction; ``close`` ends everything.

    Args:
        folder: an empty folder with a short path, reachable by every user (munge's daemon is not root).
        nodes: how many, named n1, n2 ...; each says that it has two processors.
        node_timeout_s: when the controller gives a silent node up.
        forgotten_after_s: how long the controller remembers a job that has ended.
        more: further lines of slurm.conf.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int = 3,
        node_timeout_s: int = 5,
        forgotten_after_s: int = 300,
        more: str = "",
        node_options: str = "CPUs=2 RealMemory=2000",
    ) -> None:
        self.folder = folder
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.address = "10.9.0.100"  # of the machine that a server runs on
        self.addresses = {name: f"10.9.0.{number}" for number, name in enumerate(self.nodes, 1)}
        self._configuration = folder / "slurm.conf"
        for name in ("munge", "state", *(f"spool-{node}" for node in self.nodes)):
            (folder / name).mkdir(parents=True)
        ports = {name: _FIRST_PORT + number for number, name in enumerate(self.nodes, 1)}
        lines = [
            f"NodeName={name} NodeAddr={self.addresses[name]} NodeHostname={name} Port={ports[name]} {node_options}"
            for name in self.nodes
        ]
        self._configuration.write_text(
            _CONFIGURATION.format(
                controller=CONTROLLER,
                address=self.address,
                folder=folder,
                node_timeout_s=node_timeout_s,
                forgotten_after_s=forgotten_after_s,
                more=more,
                nodes="\n".join(lines),
                all_nodes=",".join(self.nodes),
                first_node=self.nodes[0],
            )
        )
        self._holder = self._hold()
        try:
            self._start_munge()
            self.start_controller()
            for name in self.nodes:
                self.start_node(name)
            self.until(lambda: set(self.node_states().values()) == {"idle"}, "idle nodes")
        except BaseException:
            self.close()
            raise

    # What a test does with it

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which Slurm's commands find this cluster."""
        path = os.environ.get("PATH", os.defpath)
        return {"SLURM_CONF": str(self._configuration), "PATH": f"{path}:/usr/sbin:/sbin"}

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread, and every thread and process that it starts, stands in the cluster's network."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        within = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY)
        kept = {name: os.environ.get(name) for name in self.environment}
        try:
            _set_network(within)
            os.environ.update(self.environment)
            yield
        finally:
            _set_network(before)
            os.close(before)
            os.close(within)
            for name, value in kept.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command by which ``argv`` runs on the machine of the controller."""
        return ["nsenter", "-t", str(self._holder.pid), "-n", "-m", "-u", "--", *argv]

    def call(self, *argv: str, check: bool = True) -> str:
        """What a command prints that is run on the machine of the controller."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(self.enter(argv), capture_output=True, text=True, env=environment, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start_controller(self) -> None:
        """Starts the controller; it comes back with the jobs that it knew."""
        self._start_daemon("slurmctld", "-f", str(self._configuration))
        self.until(lambda: "is UP" in self.call("scontrol", "ping", check=False), "the controller")

    def stop_controller(self) -> None:
        """Stops the controller, which writes down what it knows; nodes and jobs go on."""
        pid = _written_pid(self.folder / "slurmctld.pid")
        processes.send(pid, signal.SIGTERM)
        self.until(lambda: not processes.is_alive(pid), "the end of the controller")

    def start_node(self, name: str) -> None:
        """Starts a node's daemon."""
        self._start_daemon("slurmd", "-N", name, "-f", str(self._configuration))

    def stop_node(self, name: str) -> None:
        """Kills a node as a power cut does: its daemon, and every process that the daemon has started."""
        daemon = _written_pid(self.folder / f"slurmd-{name}.pid")
        self._kill(daemon, *self._started_on(name))

    def node_states(self) -> dict[str, str]:
        """Each node's state, in Slurm's short word."""
        lines = self.call("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t").splitlines()
        return dict(line.split() for line in lines)

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Looks until ``is_so()``."""
        deadline = time.monotonic() + _PATIENCE_S
        while not is_so():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}; the logs are in {self.folder}")
            _A_MOMENT.wait(0.02)

    def clear(self) -> None:
        """Ends every job, so that the next test finds the nodes free."""
        self.call("scancel", "--full", "--signal=KILL", "--user=root", check=False)
        self.call("scancel", "--user=root", check=False)
        waited = 0

        def are_idle() -> bool:
            nonlocal waited
            waited += 1
            if waited % 200 == 0:  # a controller that was killed may have missed the end of a job, and asks late
                every = f"NodeName={','.join(self.nodes)}"
                self.call("scontrol", "update", every, "State=DOWN", "Reason=stuck", check=False)
                self.call("scontrol", "update", every, "State=RESUME", check=False)
            return set(self.node_states().values()) == {"idle"}

        self.until(are_idle, "idle nodes")

    def close(self) -> None:
        """Ends every process of the cluster."""
        assert self._holder.stdin is not None and self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.wait(timeout=_PATIENCE_S)
        self._holder.stdout.close()

    # How it is made

    def _hold(self) -> "subprocess.Popen[bytes]":
        hosts = self.folder / "hosts"
        names = {**self.addresses, CONTROLLER: self.address}
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{at} {name}\n" for name, at in names.items()))
        holder = subprocess.Popen(
            ["unshare", "-n", "-m", "-u", sys.executable, "-S", "-c", _HOLDER, CONTROLLER, str(hosts), *names.values()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self.environment},
        )
        assert holder.stdout is not None
        if holder.stdout.readline() != b"ready\n":
            holder.kill()
            holder.wait()
            raise AssertionError("the cluster's network could not be made; what went wrong is above")
        return holder

    def _start_munge(self) -> None:
        """The daemon that vouches for who calls; it is not root, and insists on the modes of its files."""
        folder = self.folder / "munge"
        key = folder / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        folder.chmod(0o755)
        for path in (folder, key):
            shutil.chown(path, "munge", "munge")
        options = [f"--{name}-file={folder / name}" for name in ("pid", "seed", "log")]
        self._start_daemon(
            *("setpriv", "--reuid", "munge", "--regid", "munge", "--clear-groups"),
            *("munged", "--force", f"--socket={folder / 'socket'}", f"--key-file={key}", *options),
        )
        self.until((folder / "socket").exists, "munge's socket")

    def _start_daemon(self, *argv: str) -> None:
        """Starts what puts itself into the background; it keeps no pipe of ours open."""
        with open(self.folder / "daemons.log", "ab") as log:
            subprocess.run(
                self.enter(argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                check=True,
            )

    def _started_on(self, node: str) -> list[int]:
        """Processes below the node's daemons of single jobs (slurmstepd), those too that made themselves daemons."""
        table = processes.all_processes()
        mark = f"SLURMD_NODENAME={node}".encode()
        tasks = {pid for pid in table if mark in _environment_of(pid)}
        parents = {table[pid].parent for pid in tasks}
        keepers = {pid for pid in parents if "slurmstepd" in "".join(processes.command_of(pid)[:1])}
        return sorted(tasks | keepers)

    def _kill(self, *pids: int) -> None:
        """Kills processes of this cluster, and waits until they are gone."""
        for pid in pids:
            processes.send(pid, signal.SIGKILL)
        self.until(lambda: not any(processes.is_alive(pid) for pid in pids), "the end of a daemon")


def _environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _written_pid(path: Path) -> int:
    return int(path.read_text())


def _set_network(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def started_cluster(**options: Any) -> Iterator[SlurmCluster]:
    """A cluster in a folder of its own; skips the test, with the reason, where there can be none."""
    why = missing()
    if why:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="runyard-slurm-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        cluster = SlurmCluster(folder, **options)
        try:
            yield cluster
        finally:
            cluster.close()
