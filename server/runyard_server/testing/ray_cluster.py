"""A real Ray on this machine for tests: a head and a few nodes, alone in a network of their own, with a token.

Ray itself is installed once, into a folder of the user's cache. The head gives no processors: jobs run on the nodes.
"""

import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from runyard.job import processes
from runyard_server.testing import own_network

VERSION = "2.60.0"
HEAD = "head"
_DASHBOARD_PORT = 8265
_GCS_PORT = 6379
_TRIES = 4
_PATIENCE_S = 300.0  # a cold start of the head compiles and reads some hundred megabytes
# A node whose daemon is gone is given up in seconds here, in minutes by Ray's own defaults.
_SETTINGS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_agent_register_timeout_ms": "120000",  # a busy machine does not keep the default
    "RAY_worker_register_timeout_seconds": "300",
    "RAY_worker_niceness": "0",  # Ray's workers give way to everything else by default
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}

# Ray's autoscaler with its provider for tests, which starts nodes as processes of this machine.
_FAKE_HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
_SCALING_SETTINGS = {
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": _FAKE_HEAD,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _FAKE_HEAD,
}
_DEFAULTS_PATH = "ray/autoscaler/_private/fake_multi_node/example.yaml"  # Ray reads it, and its wheel lacks it


def _scaling(most: int) -> dict[str, Any]:
    """A cluster file of that provider's."""
    commands = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    return {
        "cluster_name": "runyard",
        "max_workers": most,
        "idle_timeout_minutes": 0.1,
        "upscaling_speed": 10.0,
        "provider": {"type": "fake_multinode", "launch_multiple": True, "head_node_id": _FAKE_HEAD},
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 2}, "node_config": {}, "min_workers": 0, "max_workers": most},
        },
        "auth": {},
        "docker": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
        **{f"{name}_commands": [] for name in commands},
    }


@cache
def installed() -> tuple[Path | None, str]:
    """The folder of Ray's programs, or why there is none. Installed at the first call of this machine's user."""
    cache_folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    python = ".".join(map(str, sys.version_info[:3]))
    folder = cache_folder / "runyard" / "ray" / f"{VERSION}-python{python}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(folder.name + ".lock"), "w") as lock:  # two halves of a suite may come at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            why = _install(folder)
            if why:
                return None, f"Ray cannot be installed: {why}"
            (folder / "complete").touch()
    return folder / "bin", ""


def _install(folder: Path) -> str:
    shutil.rmtree(folder, ignore_errors=True)
    uv = [sys.executable, "-m", "uv"]
    into = ["--python", str(folder / "bin" / "python"), "--compile-bytecode", f"ray[default]=={VERSION}"]
    # Compiled now: else each of Ray's processes compiles its imports again where bytecode is not written.
    for command in ([*uv, "venv", "--quiet", "--python", sys.executable, str(folder)], [*uv, "pip", "install", *into]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return (done.stderr.strip().splitlines() or ["uv failed"])[-1]
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / _DEFAULTS_PATH).write_text(json.dumps(_scaling(0)))
    return ""


@cache
def missing() -> str:
    """Why there can be no such cluster here; "" where there can."""
    if shutil.which("ip") is None:
        return "ip not found: apt-get install iproute2"
    return own_network.missing() or installed()[1]


class RayCluster:
    """Starts at construction; ``close`` ends everything.

    Args:
        folder: an empty folder with a short path: Ray's sockets lie in it.
        nodes: how many, named n1, n2 ...; each says that it has two processors, and a resource of its own name.
        scales_to: so many further nodes are brought by Ray's own autoscaler as they are needed, and taken away when
            they have been idle for some seconds.
        silence_s: how long the daemon of a node that is there may let each of four questions of the head's wait, until
            the node is given up.
        hidden: a folder of this machine that head and nodes do not see: each has an empty one, as another machine has.
    """

    def __init__(
        self, folder: Path, nodes: int = 2, scales_to: int = 0, silence_s: int = 30, hidden: Path | None = None
    ) -> None:
        self._silence_s = silence_s
        self._alone = own_network.without(hidden) if hidden is not None else []
        self.folder = folder
        self._scales_to = scales_to
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.server_address = "10.9.0.100"  # of the machine that a server runs on
        self.head_address = "10.9.0.50"
        self.addresses = {name: f"10.9.0.{number}" for number, name in enumerate(self.nodes, 1)}
        self.token = secrets.token_hex(16)
        self.url = f"http://{self.head_address}:{_DASHBOARD_PORT}"
        found, why = installed()
        assert found is not None, why
        self.programs = found
        names = {**self.addresses, HEAD: self.head_address, "here": self.server_address}
        self._network = own_network.OwnNetwork(folder, HEAD, names, self._client_environment())
        try:
            self.start_head()
            for name in self.nodes:
                self.start_node(name)
            self.until(lambda: len(self.alive()) == 1 + nodes, "Ray's nodes")
        except BaseException:
            self.close()
            raise

    # What a test does with it

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread, and every thread and process that it starts, stands in the cluster's network."""
        with self._network.inside():
            yield

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Ray's answer. To be called from inside."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)

    def alive(self) -> list[str]:
        """Addresses of the nodes that Ray believes to live."""
        with self.inside():
            try:
                said = self.ask("/api/v0/nodes")  # what `ray list nodes` asks, which takes seconds of a core to start
            except OSError:
                return []  # the head does not answer yet
        return [node["node_ip"] for node in said["data"]["result"]["result"] if node["state"] == "ALIVE"]

    def call(self, *argv: str, check: bool = True) -> str:
        """What a program prints that is run inside, with the cluster's token."""
        done = subprocess.run(
            self._network.enter(argv), capture_output=True, text=True, env=self._environment(), check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def start_head(self) -> None:
        """Starts the head; it has no processors for jobs."""
        temporary = ["--temp-dir", str(self.folder / "r")]
        ports = ["--port", str(_GCS_PORT), "--dashboard-port", str(_DASHBOARD_PORT)]
        hosts = ["--node-ip-address", self.head_address, "--dashboard-host", self.head_address]
        scaling = []
        if self._scales_to:
            configuration = self.folder / "autoscaling.json"
            configuration.write_text(json.dumps(_scaling(self._scales_to)))
            scaling = [f"--autoscaling-config={configuration}"]
        options = [*ports, *hosts, *temporary, *scaling, "--num-cpus=0", "--num-gpus=0"]
        self._start("--head", *options, alone=self._alone)

    def node_of(self, submission: str) -> str:
        """The name of the node that a running job's driver is on. To be called from inside."""
        job = self.ask(f"/api/jobs/{submission}")
        nodes = self.ask("/api/v0/nodes?detail=1")["data"]["result"]["result"]
        (address,) = [node["node_ip"] for node in nodes if node["node_id"] == job["driver_node_id"]]
        return next(name for name, at in self.addresses.items() if at == address)

    def start_node(
        self,
        name: str,
        gpus: int = 0,
        variables: Mapping[str, str] | None = None,
        resources: Mapping[str, int] | None = None,
        hidden: Path | None = None,
    ) -> None:
        """Starts a node.

        Args:
            gpus: how many it says that it has.
            variables: what is set on it beside what is set here.
            resources: what else it says that it has, beside one of its own name.
            hidden: a folder that it does not see; by default the cluster's.
        """
        own = json.dumps({name: 1, **(resources or {})})
        address = ["--address", f"{self.head_address}:{_GCS_PORT}", "--node-ip-address", self.addresses[name]]
        alone = self._alone if hidden is None else own_network.without(hidden)
        options = [*address, "--num-cpus=2", f"--num-gpus={gpus}", f"--resources={own}"]
        self._start(*options, alone=alone, variables=variables)

    @contextmanager
    def one_more_node(self, gpus: int = 0, **options: Any) -> Iterator[str]:
        """A further node for a while, known by its name; ``options``: those of ``start_node``.

        Ray counts one less when this has ended.
        """
        name = f"n{len(self.addresses) + 1}"
        self.addresses[name] = f"10.9.0.{len(self.addresses) + 1}"
        self.call("ip", "addr", "add", f"{self.addresses[name]}/32", "dev", "lo")
        try:
            self.start_node(name, gpus, **options)
            self.until(lambda: self.addresses[name] in self.alive(), f"Ray's node {name}")
            yield name
        finally:
            self.kill_node(name)
            self.until(lambda: self.addresses[name] not in self.alive(), f"the end of Ray's node {name}")
            self.call("ip", "addr", "del", f"{self.addresses.pop(name)}/32", "dev", "lo")

    def restart_node(self, name: str) -> None:
        """Starts a node that was killed, once Ray has noticed that; returns when Ray counts it again."""
        self.until(lambda: self.addresses[name] not in self.alive(), f"the end of Ray's node {name}")
        self.start_node(name)
        self.until(lambda: self.addresses[name] in self.alive(), f"Ray's node {name}")

    def kill_node(self, name: str) -> None:
        """Kills a node's own daemon; what that has started ends by itself. What only watches its logs would go on."""
        self.signal_node(name, signal.SIGKILL)
        for pid in self._watchers(self.addresses[name]):
            processes.send(pid, signal.SIGKILL)
        self.until(lambda: not self._daemons(self.addresses[name]), f"the end of {name}")

    @contextmanager
    def without_node(self, name: str) -> Iterator[None]:
        """A node's daemon is killed; at the end it is started again, and counted."""
        self.kill_node(name)
        try:
            yield
        finally:
            self.restart_node(name)

    @contextmanager
    def taken_away(self, name: str) -> Iterator[None]:
        """Ray is told that a node will be taken away; at the end it is, and is started again. To be called from inside."""
        self.warn_of(name)
        try:
            yield
        finally:
            self.kill_node(name)
            self.restart_node(name)

    def warn_of(self, name: str, within_s: int = 60) -> None:
        """Tells Ray that a node will be taken away, as one that a cloud wants back. To be called from inside."""
        nodes = self.ask("/api/v0/nodes?detail=1")["data"]["result"]["result"]
        (own,) = [
            node["node_id"] for node in nodes if (node["node_ip"], node["state"]) == (self.addresses[name], "ALIVE")
        ]
        why = ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=taken away"]
        why.append(f"--deadline-remaining-seconds={within_s}")
        address = f"--address={self.head_address}:{_GCS_PORT}"
        self.call(str(self.programs / "ray"), "drain-node", address, f"--node-id={own}", *why)

    def signal_node(self, name: str, number: int) -> None:
        """Sends a signal to a node's daemon: SIGSTOP makes it hang."""
        for pid in self._daemons(self.addresses[name]):
            processes.send(pid, number)

    @contextmanager
    def held_autoscaler(self) -> Iterator[None]:
        """Ray's autoscaler hangs: what it is asked for does not come before the end."""
        held = self._own(lambda command: any(part.endswith("/monitor.py") for part in command))
        assert held, "this cluster has no autoscaler"
        for pid in held:
            processes.send(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in held:
                processes.send(pid, signal.SIGCONT)

    @contextmanager
    def cut_off(self, port: int | None = None, node: str | None = None) -> Iterator[None]:
        """What is sent to that port, or to that node's address, gets lost, in open connections too."""
        ways = [] if port is None else [own_network.to_port(port)]
        ways += [] if node is None else [["to", self.addresses[node]]]
        with self._network.cut_off(*ways):
            yield

    def fill(self) -> Callable[[], None]:
        """Gives each node a job that keeps all of its processors; what ends them. Both to be called from inside."""
        job = {"entrypoint": "sleep 600", "entrypoint_num_cpus": 2}
        held = [
            self.ask("/api/jobs/", "POST", {**job, "entrypoint_resources": {name: 1}})["submission_id"]
            for name in self.nodes
        ]
        self.until(lambda: set(held) <= set(self._going("RUNNING")), "jobs on all of Ray's nodes")
        return lambda: self._stop(held)

    def clear(self) -> None:
        """Ends every job, so that the next test finds the nodes free. To be called from inside."""
        self._stop(self._going())

    def _stop(self, jobs: Iterable[str]) -> None:
        ending = set(jobs)
        for job in ending:
            self.ask(f"/api/jobs/{job}/stop", "POST")
        self.until(lambda: not ending.intersection(self._going()), "the end of jobs")

    def _going(self, *statuses: str) -> list[str]:
        wanted = statuses or ("PENDING", "RUNNING")
        jobs = self.ask("/api/jobs/")
        return [job["submission_id"] for job in jobs if job["submission_id"] and job["status"] in wanted]

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Looks until ``is_so()``."""
        own_network.until(is_so, f"{what}; the logs are in {self.folder}", _PATIENCE_S)

    def close(self) -> None:
        """Ends every process of the cluster."""
        self._network.close()

    # How it is made

    def _client_environment(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "NO_PROXY": "*", "no_proxy": "*"}

    def _environment(self) -> Mapping[str, str]:
        left_out = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        path = f"{self.programs}{os.pathsep}{kept.get('PATH', os.defpath)}"
        scaling = _SCALING_SETTINGS if self._scales_to else {}
        own = {**self._client_environment(), "RAY_AUTH_TOKEN": self.token, "PATH": path}
        settings = {**_SETTINGS, "RAY_health_check_timeout_ms": str(1000 * self._silence_s)}
        return {**kept, **settings, **scaling, **own}

    def _start(self, *options: str, alone: Sequence[str] = (), variables: Mapping[str, str] | None = None) -> None:
        """Starts what puts itself into the background; it keeps no pipe of ours open.

        `ray start` gives a node half a minute, which a busy machine does not keep: then it is started again.
        """
        command = [*alone, str(self.programs / "ray"), "start", *options]
        command += ["--disable-usage-stats", "--object-store-memory=100000000"]
        for _ in range(_TRIES):
            with open(self.folder / "daemons.log", "ab") as log:
                done = subprocess.run(
                    self._network.enter(command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**self._environment(), **(variables or {})},
                    check=False,
                )
            if done.returncode == 0:
                return
            if "--head" in options:
                self._network.clear()
            for pid in self._daemons(options[options.index("--node-ip-address") + 1]):  # it may still come
                processes.send(pid, signal.SIGKILL)
        said = (self.folder / "daemons.log").read_text(errors="replace")
        raise AssertionError(f"{' '.join(command)} failed {_TRIES} times: {said[-2000:]}")

    def _daemons(self, address: str) -> list[int]:
        wanted = f"--node_ip_address={address}"
        return self._own(lambda command: command[0].endswith("/raylet") and wanted in command)

    def _watchers(self, address: str) -> list[int]:
        wanted = f"--node-ip-address={address}"
        return self._own(
            lambda command: wanted in command and any(part.endswith("/log_monitor.py") for part in command)
        )

    def _own(self, is_it: Callable[[list[str]], bool]) -> list[int]:
        """Processes of this cluster whose command line is so."""
        commands = {pid: processes.command_of(pid) for pid in self._network.members()}
        return [pid for pid, command in commands.items() if command and is_it(command)]


@contextmanager
def started_cluster(**options: Any) -> Iterator[RayCluster]:
    """A cluster in a folder of its own; skips the test, with the reason, where there can be none."""
    why = missing()
    if why:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="ry-", ignore_cleanup_errors=True) as name:
        cluster = RayCluster(Path(name), **options)
        try:
            yield cluster
        finally:
            cluster.close()
