"""A real podman with a storage of its own, and a real registry on loopback, for tests."""

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from runyard_server.testing.base_image import write_base
from runyard_server.testing.free_port import free_port

BASE = "localhost/runyard-test-base:1"
_PACKAGES = "podman runc conmon docker-registry"
_PATIENCE_S = 240.0
_A_MOMENT = threading.Event()  # never set: the registry is outside, all that one can do is look again

# What a root without every capability needs: limits that it may set, and cgroups that it may write.
_CONTAINERS = """\
[containers]
cgroups = "enabled"
netns = "host"
default_ulimits = ["nofile=1024:4096", "nproc=8192:32768"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "runc"
"""
_STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""
_REGISTRIES = """\
[[registry]]
location = "{address}"
insecure = true
"""
_REGISTRY = """\
version: 0.1
storage:
  filesystem:
    rootdirectory: {folder}/registry
  delete:
    enabled: true
http:
  addr: {address}
"""


@cache
def missing() -> str:
    """Why containers cannot be tested here; "" where they can."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    lacking = [name for name in ("podman", "runc", "docker-registry") if shutil.which(name, path=path) is None]
    return f"{', '.join(lacking)} not found: apt-get install {_PACKAGES}" if lacking else ""


class ContainerHost:
    """What podman works with here; its variables are to be set for whatever calls podman.

    Attributes:
        registry: address of the registry.
    """

    def __init__(self, folder: Path, registry: str) -> None:
        self.folder = folder
        self.registry = registry
        (folder / "registries.conf").write_text(_REGISTRIES.format(address=registry))
        (folder / "containers.conf").write_text(_CONTAINERS)
        self.add_storage("storage")

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which podman uses this storage and trusts this registry."""
        return {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.storage_conf("storage")),
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
            "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
        }

    @contextmanager
    def used(self) -> Iterator[None]:
        """Servers that are started meanwhile work with this podman and this registry."""
        given = {**self.environment, "RUNYARD_CONTAINER_REGISTRY": self.registry}
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value

    def add_storage(self, name: str) -> None:
        """A place for images of its own, as another host has."""
        (self.folder / name).mkdir()
        self.storage_conf(name).write_text(_STORAGE.format(folder=self.folder / name))

    def storage_conf(self, name: str) -> Path:
        return self.folder / f"{name}.conf"

    def call(self, *argv: str, storage: str = "storage", check: bool = True) -> str:
        """What podman prints."""
        environment = {**os.environ, **self.environment, "CONTAINERS_STORAGE_CONF": str(self.storage_conf(storage))}
        done = subprocess.run(["podman", *argv], capture_output=True, text=True, env=environment, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"podman {' '.join(argv)}: {done.stderr.strip()}")
        return done.stdout

    def containers(self, storage: str = "storage") -> list[str]:
        """Names of all containers, running or not."""
        return self.call("ps", "--all", "--format", "{{.Names}}", storage=storage).split()

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Looks until ``is_so()``."""
        deadline = time.monotonic() + _PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            _A_MOMENT.wait(0.1)

    def tags(self) -> list[str]:
        """Tags of the environments in the registry."""
        try:
            with urllib.request.urlopen(f"http://{self.registry}/v2/runyard/environment/tags/list") as answer:
                return list(json.load(answer)["tags"] or [])
        except urllib.error.HTTPError:
            return []

    def close(self) -> None:
        for name in sorted(self.folder.glob("*/graph")):
            storage = name.parent.name
            self.call("rm", "--all", "--force", "--time", "0", storage=storage, check=False)
            self.call("rmi", "--all", "--force", storage=storage, check=False)


@contextmanager
def started_host(address: str = "127.0.0.1") -> Iterator[ContainerHost]:
    """Podman with a base image, and a registry; skips the test, with the reason, where there can be none.

    Args:
        address: where the registry listens.
    """
    why = missing()
    if why:
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="runyard-containers-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        registry = f"{address}:{free_port(address)}"
        host = ContainerHost(folder, registry)
        (folder / "registry.yml").write_text(_REGISTRY.format(folder=folder, address=registry))
        with open(folder / "registry.log", "ab") as log:
            serving = subprocess.Popen(
                ["docker-registry", "serve", str(folder / "registry.yml")], stdout=log, stderr=log
            )
        try:
            base = folder / "base.tar"
            write_base(base)
            host.call("import", "--quiet", str(base), BASE)
            base.unlink()
            _until_it_answers(registry, serving)
            yield host
        finally:
            serving.terminate()
            serving.wait()
            host.close()


def _until_it_answers(registry: str, serving: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            urllib.request.urlopen(f"http://{registry}/v2/").close()
            return
        except OSError:
            if serving.poll() is not None or time.monotonic() > deadline:
                raise
        _A_MOMENT.wait(0.05)
