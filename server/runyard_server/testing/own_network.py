"""A network of its own on this machine, for a real engine in tests: addresses of a loopback device that nobody else has.

Daemons that listen everywhere listen there alone, and when it is closed every process that has come into it ends.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from runyard.job import processes

_CLONE_NEWNET = 0x40000000
_A_MOMENT = threading.Event()  # never set: daemons are outside, all that one can do is look again
PATIENCE_S = 180.0  # with daemons, on a machine that runs other tests too

# Runs as the first process inside: names the machine and gives the loopback device its addresses; ends, with all
# that has come into its network since, when its input closes: with the test that holds it, however that ends.
_HOLDER = """
import os, signal, subprocess, sys
host, hosts, *addresses = sys.argv[1:]
spared = (os.getpid(), os.getppid())  # a test may stand inside itself
def run(*argv):
    subprocess.run(argv, check=True)
run("ip", "link", "set", "lo", "up")
run("hostname", host)
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


@cache
def missing() -> str:
    """Why there can be no such network here; "" where there can."""
    if os.geteuid() != 0:
        return "a network of our own needs root"
    try:
        tried = subprocess.run(
            ["unshare", "-n", "-p", "-m", "-u", "-f", "--mount-proc", "ip", "link"], capture_output=True, check=False
        )
    except FileNotFoundError:
        return "unshare not found: apt-get install util-linux"
    return "" if tried.returncode == 0 else f"no namespaces here: {tried.stderr.decode().strip()}"


class OwnNetwork:
    """Starts at construction; ``close`` ends everything in it.

    Args:
        folder: where its table of hosts is written.
        host: the name of this machine inside.
        addresses: by name.
        environment: the variables with which clients find the engine, set for who is inside.
    """

    def __init__(self, folder: Path, host: str, addresses: Mapping[str, str], environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        hosts = folder / "hosts"
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{at} {name}\n" for name, at in addresses.items()))
        command = ["unshare", "-n", "-m", "-u", sys.executable, "-S", "-c", _HOLDER, host, str(hosts)]
        self._holder = subprocess.Popen(
            [*command, *addresses.values()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self._environment},
            start_new_session=True,  # what interrupts the tests must leave it time to end all the others
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            self._holder.kill()
            self._holder.wait()
            raise AssertionError("the network could not be made; what went wrong is above")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread, and every thread and process that it starts, stands in the network."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        within = os.open(f"/proc/{self._holder.pid}/ns/net", os.O_RDONLY)
        kept = {name: os.environ.get(name) for name in self._environment}
        try:
            _set_network(within)
            os.environ.update(self._environment)
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
        """The command by which ``argv`` runs inside."""
        return ["nsenter", "-t", str(self._holder.pid), "-n", "-m", "-u", "--", *argv]

    @contextmanager
    def cut_off(self, *what: Sequence[str]) -> Iterator[None]:
        """What goes there gets lost, in open connections too.

        Args:
            what: each the words of a rule of routing (``ip rule``), such as "dport 8000" or "to 10.9.0.1".
        """
        last = str(len(what) + 1)
        rules = [["pref", str(place), *words] for place, words in enumerate(what, 1)]

        def change(*words: str, check: bool = True) -> None:
            subprocess.run(self.enter(["ip", "rule", *words]), check=check, capture_output=not check)

        try:
            for rule in rules:
                change("add", *rule, "blackhole")
            change("add", "pref", last, "lookup", "local")
            change("del", "pref", "0")  # the rule for this machine's own addresses, before all others
            yield
        finally:
            change("add", "pref", "0", "lookup", "local", check=False)  # it is there where something went wrong above
            change("del", "pref", last, check=False)
            for rule in rules:
                change("del", "pref", rule[1], check=False)

    def members(self) -> list[int]:
        """Pids of the processes inside, without this one and what holds the network.

        Whoever looks for a process of an engine looks here: another engine of this machine, of tests that run beside
        these, has nodes of the same names and addresses.
        """
        holder, table = self._holder.pid, processes.all_processes()
        own = os.stat(f"/proc/{holder}/ns/net").st_ino
        others = [
            each.pid for each in table.values() if each.pid not in (holder, os.getpid()) and each.parent != holder
        ]
        return [pid for pid in others if _network_of(pid) == own]

    def clear(self) -> None:
        """Ends every process inside; the network stays. Not for a test that stands inside with a server of its own."""

        def are_gone() -> bool:
            found = self.members()
            for pid in found:
                processes.send(pid, signal.SIGKILL)
            return not found

        until(are_gone, "the end of what was inside")

    def close(self) -> None:
        """Ends every process inside."""
        assert self._holder.stdin is not None and self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.wait(timeout=PATIENCE_S)
        self._holder.stdout.close()


def until(is_so: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Looks until ``is_so()``."""
    deadline = time.monotonic() + patience_s
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        _A_MOMENT.wait(0.02)


def to_port(port: int) -> list[str]:
    """What is sent to a port, for ``OwnNetwork.cut_off``."""
    return ["ipproto", "tcp", "dport", str(port)]


def without(folder: Path) -> list[str]:
    """What a command is put behind that does not see a folder: it has an empty one in its place."""
    hide = 'mount -t tmpfs none "$0" && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", hide, str(folder)]


def _network_of(pid: int) -> int | None:
    """What names the network of a process; None where it has ended."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return None


def _set_network(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
