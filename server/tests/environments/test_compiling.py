"""A package that the server compiles: real ``uv`` and real processes; a tiny source and a compiler of the test's own."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import Queue

import pytest

from runyard.errors import EnvironmentException
from runyard.job import processes
from runyard.protocol.codec import to_json
from runyard.protocol.environments import CompiledPackage, EnvironmentLock
from runyard_server.environments.disk import JUST_USED_S
from runyard_server.environments.provision import Environments
from runyard_server.testing.package_index import PackageIndex

# Calls the compiler as a real one does, and writes a wheel that tells what it was compiled with.
SETUP = """
import base64, hashlib, os, subprocess, sys, zipfile
if subprocess.call([os.environ["CXX"], "-c", "lib.cc"]):
    raise SystemExit("error: command failed with exit code 1")
told = repr({name: value for name, value in os.environ.items() if name.startswith(("HOROVOD_", "LDFLAGS"))})
files = {
    "horovod.py": "told = " + told,
    "horovod-0.16.4.dist-info/METADATA": "Metadata-Version: 2.1\\nName: horovod\\nVersion: 0.16.4\\n",
    "horovod-0.16.4.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}
def row(path, text):
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    return "%s,sha256=%s,%d\\n" % (path, digest, len(text.encode()))
record = "horovod-0.16.4.dist-info/RECORD"
files[record] = "".join(row(*item) for item in files.items()) + record + ",,\\n"
with zipfile.ZipFile(os.path.join(sys.argv[-1], "horovod-0.16.4-py3-none-any.whl"), "w") as wheel:
    for item in files.items():
        wheel.writestr(*item)
"""

# Stands for setuptools, of which the newest Pythons get their distutils.
SETUPTOOLS = """
import sys, types
if sys.version_info >= (3, 12):
    sys.modules["distutils"] = types.ModuleType("distutils")
    sys.modules["distutils.ccompiler"] = types.ModuleType("distutils.ccompiler")
    sys.modules["distutils.ccompiler"].CCompiler = type("CCompiler", (), {})
"""

ENSURE = """
import json, sys
from pathlib import Path
from runyard.protocol.codec import from_json
from runyard.protocol.environments import EnvironmentLock
from runyard_server.environments.provision import Environments
root, lock = sys.argv[1:]
Environments(Path(root)).ensure(from_json(EnvironmentLock, json.loads(lock)), print)
"""


def silent(_: str) -> None:
    pass


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a C++ compiler that does this, after it has written down that it was called."""
    calls = tmp_path / "calls"
    calls.touch()

    def make(body: str = "") -> Path:
        path = tmp_path / "c++"
        path.write_text(f"#!/bin/sh\necho called >> {calls}\n{body}\n")
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        return calls

    return make


@pytest.fixture
def calls(compiler: Callable[[str], Path]) -> Path:
    """A line for each call of a compiler that does its work."""
    return compiler("")


@pytest.fixture
def lock_with(
    index: PackageIndex, environments: Environments, of_index: Callable[..., object]
) -> Callable[..., object]:
    """The lock of these packages and a Horovod that is compiled."""
    source = index.publish_source("horovod", "0.16.4", SETUP)
    index.publish("setuptools", "59.8.0", content=SETUPTOOLS)

    def lock_with(*packages: str) -> EnvironmentLock:
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        tools = environments.resolve(of_index("setuptools"), silent).requirements
        package = CompiledPackage("horovod", "0.16.4", digest, "horovod-0.16.4/1", ["tensorflow==1.13.1"], tools)
        lock = environments.resolve(of_index(*packages), silent)
        return replace(lock, compiled=[package], key=hashlib.sha1(" ".join(packages).encode()).hexdigest())

    return lock_with


@pytest.fixture
def lock(lock_with: Callable[..., EnvironmentLock]) -> EnvironmentLock:
    return lock_with("alpha")


def told_in(ready: object) -> dict[str, str]:
    code = "import json, alpha, horovod; print(json.dumps(horovod.told))"
    answer = subprocess.run([ready.python, "-c", code], capture_output=True, text=True, check=True)  # type: ignore[attr-defined]
    return dict(json.loads(answer.stdout))


def wheel_of(root: Path) -> Path:
    (path,) = root.glob("wheels/*/horovod-0.16.4-py3-none-any.whl")
    return path


def ensure_in_a_process(root: Path, lock: EnvironmentLock) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", ENSURE, str(root), json.dumps(to_json(lock))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_an_environment_gets_what_is_compiled_beside_its_packages(environments, lock, calls, monkeypatch):
    monkeypatch.setenv("HOROVOD_GPU_OPERATIONS", "NCCL")  # of the server's own surroundings
    monkeypatch.setenv("LDFLAGS", "-L/elsewhere")
    lines: list[str] = []
    told = told_in(environments.ensure(lock, lines.append))
    assert told["HOROVOD_WITH_TENSORFLOW"] == "1" and "HOROVOD_GPU_OPERATIONS" not in told
    assert told["LDFLAGS"].endswith("-rpath,$ORIGIN/../../../..")
    assert lines[0] == "Compiling horovod 0.16.4 against tensorflow==1.13.1, once for all that need it"
    assert lines[1].startswith("Compiled horovod-0.16.4-py3-none-any.whl after ")
    assert "2 packages" in lines[2]


def test_what_the_compiler_says_is_told_while_it_goes_on(environments, lock, compiler, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    holding = os.open(gate, os.O_RDWR)
    compiler(f"echo 'lib.cc: a warning' >&2; read opened < {gate}")
    told: Queue[str] = Queue()
    with ThreadPoolExecutor(1) as pool:
        build = pool.submit(environments.ensure, lock, told.put)
        try:
            assert told.get(timeout=60).startswith("Compiling horovod 0.16.4 against ")
            assert told.get(timeout=60) == "lib.cc: a warning"  # and the compiler is at the gate
        finally:
            os.write(holding, b"opened\n")
        assert told_in(build.result())
    os.close(holding)


def test_two_environments_share_what_was_compiled_once(environments, lock_with, calls, index):
    index.publish("beta", "1.0", ["alpha"])
    first, second = environments.ensure(lock_with("alpha"), silent), environments.ensure(lock_with("beta"), silent)
    assert first.key != second.key
    assert told_in(first) == told_in(second)
    assert calls.read_text() == "called\n"


def test_servers_and_threads_that_need_it_at_once_compile_it_once(root, lock_with, calls, index, environments):
    index.publish("beta", "1.0", ["alpha"])
    locks = [lock_with("alpha"), lock_with("beta")]
    servers = [ensure_in_a_process(root, each) for each in locks]
    with ThreadPoolExecutor(4) as pool:
        ready = list(pool.map(lambda each: environments.ensure(each, silent), [*locks, *locks]))
    outputs = [server.communicate()[0] for server in servers]
    assert [server.returncode for server in servers] == [0, 0], outputs
    assert {each.key for each in ready} == {each.key for each in locks}
    assert calls.read_text() == "called\n"


@pytest.mark.parametrize(
    "damage", [lambda wheel: wheel.write_bytes(wheel.read_bytes()[:-9] + b"tampered!"), Path.unlink]
)
def test_a_damaged_wheel_is_noticed_and_compiled_anew(environments, root, lock_with, calls, index, damage):
    index.publish("beta", "1.0", ["alpha"])
    environments.ensure(lock_with("alpha"), silent)
    damage(wheel_of(root))
    lines: list[str] = []
    assert told_in(environments.ensure(lock_with("beta"), lines.append))
    assert lines[0].startswith("The compiled wheel horovod-0.16.4-py3-none-any.whl ")
    assert calls.read_text() == "called\n" * 2


def test_a_compilation_that_was_killed_with_its_server_leaves_nothing_and_is_done_anew(
    environments, root, lock, compiler, tmp_path
):
    started = tmp_path / "started"
    os.mkfifo(started)
    calls = compiler(f"if [ $(wc -l < {tmp_path / 'calls'}) = 1 ]; then echo $$ > {started}; exec sleep 600; fi")
    server = ensure_in_a_process(root, lock)
    orphan = int(started.read_text())
    server.send_signal(signal.SIGKILL)
    server.communicate()
    assert list(root.glob("wheels/*/wheel.json")) == []
    assert len(list(root.glob("wheels/compiling/*/environment"))) == 1
    assert told_in(environments.ensure(lock, silent))
    assert calls.read_text() == "called\n" * 2
    assert list(root.glob("wheels/compiling/*")) == []
    assert not processes.is_alive(orphan)


def test_prune_clears_away_what_a_killed_compilation_left_and_nothing_that_goes_on(
    environments, root, lock, compiler, tmp_path
):
    started = tmp_path / "started"
    os.mkfifo(started)
    compiler(f"echo $$ > {started}; exec sleep 600")
    server = ensure_in_a_process(root, lock)
    compiling = int(started.read_text())
    environments.cache.prune(0.0, [], False, silent)
    assert len(list(root.glob("wheels/compiling/*/environment"))) == 1
    server.send_signal(signal.SIGKILL)
    server.communicate()
    processes.send(compiling, signal.SIGKILL)  # if no other server of this machine has done so by now
    environments.cache.prune(0.0, [], False, silent)
    assert list(root.glob("wheels/compiling/*")) == []


def test_without_a_compiler_the_message_says_how_to_get_one(environments, root, lock, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(EnvironmentException, match=r"no C\+\+ compiler \(no-such-compiler\).*apt install g\+\+"):
        environments.ensure(lock, silent)
    assert not (root / lock.key).exists()


def test_what_is_compiled_already_needs_no_compiler(environments, lock_with, calls, index, monkeypatch):
    index.publish("beta", "1.0", ["alpha"])
    environments.ensure(lock_with("alpha"), silent)
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert told_in(environments.ensure(lock_with("beta"), silent))


def test_a_compiler_that_fails_is_named_with_its_first_error_and_nothing_is_kept(environments, root, lock, compiler):
    compiler("echo 'lib.cc:3:1: error: no such thing' >&2; echo 'lib.cc:9:9: error: another' >&2; exit 1")
    lines: list[str] = []
    with pytest.raises(EnvironmentException) as failed:
        environments.ensure(lock, lines.append)
    first, cure = str(failed.value).splitlines()[:2]
    assert first.startswith("horovod 0.16.4 could not be compiled against tensorflow==1.13.1 with /")
    assert first.endswith(": lib.cc:3:1: error: no such thing")
    assert "CXX" in cure and "framework_version" in cure
    assert "lib.cc:9:9: error: another" in lines
    assert list(root.glob("wheels/*/wheel.json")) == [] and list(root.glob("wheels/compiling/*")) == []
    compiler("")
    assert told_in(environments.ensure(lock, silent))


def test_a_library_that_would_not_find_mpi_in_another_environment_is_not_kept(
    environments, root, index, lock_with, calls
):
    with_library = SETUP.replace(
        "    for item in files.items():",
        "    wheel.writestr('horovod/mpi_lib.so', '/../../../..')\n    for item in files.items():",
    )
    index.publish_source("horovod", "0.16.4", with_library)
    with pytest.raises(EnvironmentException, match="finds no MPI where it is installed .horovod/mpi_lib.so"):
        environments.ensure(lock_with("alpha"), silent)
    assert list(root.glob("wheels/*/wheel.json")) == []


def test_a_source_with_other_bytes_than_the_locks_is_refused(environments, lock, calls, index):
    index.publish_source("horovod", "0.16.4", SETUP + "# more\n")
    with pytest.raises(
        EnvironmentException, match="gave other bytes for horovod==0.16.4 than the lock.*expected sha256:"
    ):
        environments.ensure(lock, silent)
    assert calls.read_text() == ""


def test_a_source_that_cannot_be_fetched_says_so(environments, lock, calls, index, monkeypatch):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    index.refuse(503, 99, "horovod")
    with pytest.raises(EnvironmentException, match="The packages of the environment cannot be fetched: "):
        environments.ensure(lock, silent)


def test_a_compilation_can_be_cancelled(environments, lock, compiler, tmp_path):
    started = tmp_path / "started"
    os.mkfifo(started)
    compiler(f"echo $$ > {started}; exec sleep 600")
    cancel = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        build = pool.submit(environments.ensure, lock, silent, cancel)
        started.read_text()
        cancel.set()
        with pytest.raises(EnvironmentException, match="cancelled"):
            build.result()


def test_prune_keeps_a_wheel_as_long_as_an_environment_that_has_it(environments, root, lock, calls):
    environments.ensure(lock, silent)
    (entry,) = environments.cache.entries()
    assert entry.requirements == ["alpha==1.0", "horovod==0.16.4"]
    wheel = wheel_of(root)
    _long_ago(wheel.with_name("used"))
    environments.cache.prune(0.0, [lock.key], False, silent)
    assert wheel.exists()
    _long_ago(root / lock.key / "used")
    lines: list[str] = []
    environments.cache.prune(0.0, [], True, lines.append)
    assert wheel.exists() and lines == []
    pruned = environments.cache.prune(0.0, [], False, lines.append)
    assert not wheel.parent.exists() and not (root / lock.key).exists()
    assert pruned.freed_bytes > pruned.removed[0].size_bytes
    assert lines[-1] == "Removed the compiled wheel horovod-0.16.4-py3-none-any.whl"


def test_prune_keeps_a_wheel_that_was_used_just_now(environments, root, lock, calls):
    environments.ensure(lock, silent)
    _long_ago(root / lock.key / "used")
    environments.cache.prune(0.0, [], False, silent)
    assert not (root / lock.key).exists()
    assert wheel_of(root).exists()


def _long_ago(path: Path) -> None:
    then = path.stat().st_mtime - JUST_USED_S - 1
    os.utime(path, (then, then))
