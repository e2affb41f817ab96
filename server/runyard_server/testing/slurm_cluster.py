"""A real Slurm on this machine for tests: a controller and a few nodes, alone in a network of their own.

The nodes are addresses of the loopback device of a network namespace, so the daemons listen where nobody else is.
The processes are this machine's: those of the cluster are the ones that stand in its network, and end with it.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from runyard.job import processes
from runyard_server.testing import own_network

CONTROLLER = "ctl"
_DAEMONS = ("slurmctld", "slurmd", "munged")
_COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "unshare", "nsenter", "setpriv", "ip")
_PACKAGES = "slurm-wlm slurm-wlm-basic-plugins munge iproute2"
_FOR_ACCOUNTS = ("slurmdbd", "sacctmgr", "sacct", "mariadbd", "mariadb-install-db", "my_print_defaults", "setsid")
_PACKAGES_FOR_ACCOUNTS = "slurmdbd slurm-client mariadb-server-core mariadb-client-core"  # Debian's service is in none
_FIRST_PORT = 17000
_STUCK_AFTER_S = 20.0

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
JobAcctGatherType=jobacct_gather/{measures}
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
SelectType=select/cons_tres
SelectTypeParameters={consumes}
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
PriorityType=priority/basic
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdTimeout=300
SlurmctldTimeout=10
MessageTimeout=30
InactiveLimit=0
KillWait=2
MinJobAge={forgotten_after_s}
MaxJobCount=20000
SlurmdParameters=config_overrides
{accounting}
GresTypes=gpu
{more}
{nodes}
PartitionName=main Nodes={all_nodes} Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO PriorityTier=1 GraceTime={grace_s}
PartitionName=short Nodes={first_node} MaxTime=1 State=UP PriorityTier=1
PartitionName=urgent Nodes={all_nodes} MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
{cloud}
"""

# AccountingStoragePass is where munge listens: else commands would ask the munge of this machine.
_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={address}
AccountingStoragePass={folder}/munge/socket
AccountingStorageEnforce=associations,limits,qos
"""
_ACCOUNTANT = """\
DbdHost={controller}
DbdAddr={address}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
"""

# Nodes that a controller asks for when a job needs them; here they stay on their way.
_CLOUD = """\
ResumeProgram=/bin/true
SuspendProgram=/bin/true
ResumeTimeout=300
SuspendTime=5
SuspendTimeout=5
ResumeRate=0
SuspendRate=0
SuspendExcNodes={standing}
SlurmctldParameters=cloud_dns,idle_on_node_suspend
PrivateData=cloud
{nodes}
PartitionName=cloud Nodes={all_nodes} MaxTime=INFINITE State=UP
"""


@cache
def missing(accounts: bool = False) -> str:
    """Why there can be no such cluster here; "" where there can.

    Args:
        accounts: whether it is to keep accounts.
    """
    found = _lacking((*_DAEMONS, *_COMMANDS), _PACKAGES)
    if accounts:
        found = found or _lacking(_FOR_ACCOUNTS, _PACKAGES_FOR_ACCOUNTS)
    return found or own_network.missing()


def _lacking(programs: Sequence[str], packages: str) -> str:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    lacking = [name for name in programs if shutil.which(name, path=path) is None]
    return f"{', '.join(lacking)} not found: apt-get install {packages}" if lacking else ""


class SlurmCluster:
    """Starts at construction; ``close`` ends everything.

    Args:
        folder: an empty folder with a short path, reachable by every user (munge's daemon is not root).
        nodes: how many, named n1, n2 ...; each says that it has two processors.
        forgotten_after_s: how long the controller remembers a job that has ended.
        grace_s: how long a job that is preempted, by one of partition "urgent", may take to end.
        limits_memory: whether jobs that use more memory than they asked for are ended.
        cloud_nodes: how many more, named c1, c2 ... in partition "cloud", are asked for when they are needed; they do
            not come.
        more: further lines of slurm.conf.
        features: what Slurm is told that single nodes have, by their names.
        gpus: how many GPUs each node says that it has: devices that are nothing.
        hidden: a folder of this machine that the nodes do not see: theirs is empty, as one of another machine is.
        accounts: what ``sacctmgr`` is told before the controller starts ("add account vision"). Where something is,
            the cluster keeps accounts, in a database of its own, and enforces them.
    """

    def __init__(
        self,
        folder: Path,
        nodes: int = 3,
        forgotten_after_s: int = 300,
        grace_s: int = 20,
        limits_memory: bool = False,
        cloud_nodes: int = 0,
        more: str = "",
        node_options: str = "CPUs=2 RealMemory=2000",
        features: Mapping[str, str] | None = None,
        gpus: int = 0,
        hidden: Path | None = None,
        accounts: Sequence[str] = (),
    ) -> None:
        self._alone = own_network.without(hidden) if hidden is not None else []
        self.folder = folder
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.address = "10.9.0.100"  # of the machine that a server runs on
        self.addresses = {name: f"10.9.0.{number}" for number, name in enumerate(self.nodes, 1)}
        self._configuration = folder / "slurm.conf"
        cloud = [f"c{number}" for number in range(1, cloud_nodes + 1)]
        self.addresses.update({name: f"10.9.1.{number}" for number, name in enumerate(cloud, 1)})
        for name in ("munge", "state", *(f"spool-{node}" for node in self.nodes + cloud)):
            (folder / name).mkdir(parents=True)
        self.ports = {name: _FIRST_PORT + number for number, name in enumerate(self.nodes, 1)}
        options = dict.fromkeys(self.nodes, node_options + (f" Gres=gpu:{gpus}" if gpus else ""))
        for name, words in (features or {}).items():
            options[name] += f" Features={words}"
        lines = [
            f"NodeName={name} NodeAddr={self.addresses[name]} NodeHostname={name} Port={self.ports[name]} {options[name]}"
            for name in self.nodes
        ]
        devices = [folder / f"gpu{index}" for index in range(gpus)]
        for device in devices:
            device.symlink_to("/dev/null")  # Slurm gives indexes to devices alone
        if devices:
            (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in devices))
        self._configuration.write_text(
            _CONFIGURATION.format(
                controller=CONTROLLER,
                address=self.address,
                folder=folder,
                forgotten_after_s=forgotten_after_s,
                grace_s=grace_s,
                measures="linux" if limits_memory else "none",
                consumes="CR_CPU_Memory" if limits_memory else "CR_CPU",
                accounting=_ACCOUNTING.format(address=self.address, folder=folder)
                if accounts
                else "AccountingStorageType=accounting_storage/none",
                more=more,
                nodes="\n".join(lines),
                all_nodes=",".join(self.nodes),
                first_node=self.nodes[0],
                cloud=self._cloud(cloud, node_options) if cloud else "",
            )
        )
        names = {**self.addresses, CONTROLLER: self.address}
        self._network = own_network.OwnNetwork(folder, CONTROLLER, names, self.environment)
        try:
            self._start_munge()
            if accounts:
                self._make_accounts(accounts)
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
        with self._network.inside():
            yield

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The command by which ``argv`` runs on the machine of the controller."""
        return self._network.enter(argv)

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

    def start_accounts(self) -> None:
        """Starts the daemon that keeps accounts, where the cluster has any."""
        self._start_daemon("env", f"MYSQL_UNIX_PORT={self.folder / 'database' / 'socket'}", "slurmdbd")
        self.until(
            lambda: self.call("sacctmgr", "-n", "show", "qos", check=False) != "", "the daemon that keeps accounts"
        )

    def stop_accounts(self) -> None:
        """Kills the daemon that keeps accounts."""
        self._kill(_written_pid(self.folder / "slurmdbd.pid"))

    def start_node(self, name: str) -> None:
        """Starts a node's daemon; the controller takes a node again that it had given up."""
        self._start_daemon(*self._alone, "slurmd", "-N", name, "-f", str(self._configuration))

    def lose_node(self, name: str) -> None:
        """Kills a node as a power cut does: its daemon, and every process that the daemon has started.

        The controller is told. Left to itself it gives a silent node up after five minutes, and a time short enough
        for a test would be one for which a busy machine keeps nodes silent that are well.
        """
        daemon = _written_pid(self.folder / f"slurmd-{name}.pid")
        self._kill(daemon, *self._started_on(name))
        self.give_up(name)

    def give_up(self, name: str) -> None:
        """Tells the controller that a node is down, whatever runs there."""
        self.call("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=silent")

    def kill_daemon(self, name: str) -> None:
        """Kills a node's daemon alone; what it has started goes on."""
        self._kill(_written_pid(self.folder / f"slurmd-{name}.pid"))

    @contextmanager
    def cut_off(self, port: int) -> Iterator[None]:
        """Nobody in the cluster's network reaches that port: what is sent there gets lost, in open connections too.

        ``ports`` has those of the nodes' daemons.
        """
        with self._network.cut_off(own_network.to_port(port)):
            yield

    def fill(self) -> Callable[[], None]:
        """Gives all nodes to one job; what ends it."""
        held = ["--nodes", str(len(self.nodes)), "--exclusive", "--output=/dev/null", "--wrap=sleep 600"]
        number = self.call("sbatch", "--parsable", *held).strip()
        self.until(
            lambda: self.call("squeue", "-h", "-t", "RUNNING", "-j", number, "-o", "%i") != "", "a job on all nodes"
        )

        def make_room() -> None:
            self.call("scancel", number)

        return make_room

    def nodes_of(self, number: str) -> list[str]:
        """Names of the nodes that a job runs on."""
        listed = self.call("squeue", "-h", "-t", "RUNNING", "-j", number, "-o", "%N").strip()
        return self.call("scontrol", "show", "hostnames", listed).split() if listed else []

    def node_states(self) -> dict[str, str]:
        """Each node's state, in Slurm's short word."""
        lines = self.call("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t").splitlines()
        return dict(line.split() for line in lines)

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Looks until ``is_so()``."""
        own_network.until(is_so, f"{what}; the logs are in {self.folder}")

    def clear(self) -> None:
        """Ends every job, so that the next test finds the nodes free."""
        self.call("scancel", "--full", "--signal=KILL", "--user=root", check=False)
        self.call("scancel", "--user=root", check=False)
        since = time.monotonic()

        def are_idle() -> bool:
            nonlocal since
            if time.monotonic() - since > _STUCK_AFTER_S:
                # A controller that was killed may have missed the end of a job, and asks late.
                since = time.monotonic()
                every = f"NodeName={','.join(self.nodes)}"
                self.call("scontrol", "update", every, "State=DOWN", "Reason=stuck", check=False)
                self.call("scontrol", "update", every, "State=RESUME", check=False)
            return set(self.node_states().values()) == {"idle"}

        self.until(are_idle, "idle nodes")

    def close(self) -> None:
        """Ends every process of the cluster."""
        self._network.close()

    # How it is made

    def _cloud(self, names: Sequence[str], node_options: str) -> str:
        """Lines of slurm.conf for nodes that are not there yet."""
        lines = [
            f"NodeName={name} NodeAddr={self.addresses[name]} NodeHostname={name} Port={_FIRST_PORT + 100 + number} "
            f"{node_options} State=CLOUD"
            for number, name in enumerate(names)
        ]
        return _CLOUD.format(standing=",".join(self.nodes), nodes="\n".join(lines), all_nodes=",".join(names))

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

    def _make_accounts(self, accounts: Sequence[str]) -> None:
        """The daemon that keeps accounts, and its database, which only root reaches: by a socket in a folder of its own."""
        database = self.folder / "database"
        database.mkdir(mode=0o700)
        where = ["--no-defaults", "--user=root", f"--datadir={database / 'data'}"]
        quickly = [
            "--skip-log-bin",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=0",
        ]  # durable for nobody
        self._start_daemon("mariadb-install-db", *where, "--auth-root-authentication-method=normal", "--skip-test-db")
        socket = database / "socket"
        alone = ["--skip-networking", f"--socket={socket}", f"--pid-file={database / 'pid'}"]
        self._start_daemon("setsid", "--fork", "mariadbd", *where, *quickly, *alone)
        self.until(socket.exists, "the database's socket")
        settings = self.folder / "slurmdbd.conf"  # it is looked for beside slurm.conf
        settings.touch(mode=0o600)  # else it is refused
        settings.write_text(_ACCOUNTANT.format(controller=CONTROLLER, address=self.address, folder=self.folder))
        self.start_accounts()
        for words in ("add cluster runyard", *accounts):
            self.call("sacctmgr", "--immediate", *words.split())

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
        tasks = {pid for pid in self._network.members() if processes.variable_in(pid, "SLURMD_NODENAME") == node}
        table = processes.all_processes()
        parents = {table[pid].parent for pid in tasks if pid in table}
        keepers = {pid for pid in parents if "slurmstepd" in "".join(processes.command_of(pid)[:1])}
        return sorted(tasks | keepers)

    def _kill(self, *pids: int) -> None:
        """Kills processes of this cluster, and waits until they are gone."""
        for pid in pids:
            processes.send(pid, signal.SIGKILL)
        self.until(lambda: not any(processes.is_alive(pid) for pid in pids), "the end of a daemon")


def _written_pid(path: Path) -> int:
    return int(path.read_text())


@contextmanager
def started_cluster(**options: Any) -> Iterator[SlurmCluster]:
    """A cluster in a folder of its own; skips the test, with the reason, where there can be none."""
    why = missing(bool(options.get("accounts")))
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
